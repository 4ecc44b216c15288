variable "project" {
  description = "Project that the job, its topics and its dataset live in."
  type        = string
}

variable "region" {
  description = "Region of the job, the bucket, the dataset and the repository of images."
  type        = string
}

variable "name" {
  description = "Name of the job, and beginning of all other names."
  type        = string
  default     = "aiops"
  validation {
    condition     = can(regex("^[a-z]([-a-z0-9]{0,15}[a-z0-9])?$", var.name))
    error_message = "At most 17 of a-z, 0-9 and -, beginning with a letter: names of service accounts are short."
  }
}

variable "log_folder" {
  description = "Folder whose projects' logs are analyzed, e.g. folders/123456789. Null for single projects (tenants.sink_project)."
  type        = string
  default     = null
  validation {
    condition     = var.log_folder == null || can(regex("^folders/[0-9]+$", var.log_folder))
    error_message = "Must look like folders/123456789."
  }
}

variable "log_filter" {
  description = "Which log entries go to the topic, in the language of Cloud Logging. Empty for all."
  type        = string
  default     = ""
}

variable "tenants" {
  description = <<-EOT
    Tenants by the id that their rows have: the project in logName, unless the job is told otherwise.
    readers see the rows of this tenant only; commanders may act on its alerts; sink_project is a project
    whose logs are taken in where no folder's are.
  EOT
  type = map(object({
    readers      = optional(list(string), [])
    commanders   = optional(list(string), [])
    sink_project = optional(string)
  }))
  default = {}
  validation {
    condition     = alltrue([for id in keys(var.tenants) : can(regex("^[A-Za-z0-9][-A-Za-z0-9._]{0,99}$", id))])
    error_message = "Ids of tenants are letters, digits, -, . and _: they become part of names and of SQL."
  }
}

variable "operators" {
  description = "Who may see the rows of all tenants, e.g. group:sre@example.com. Empty: nobody but the owners of the data."
  type        = list(string)
  default     = []
}

variable "template" {
  description = "Address of the flex template, made by templates/build.sh, which writes it into template.auto.tfvars. Empty: all but the job."
  type        = string
  default     = ""
  validation {
    condition     = var.template == "" || can(regex("^gs://[^/]+/.+$", var.template))
    error_message = "Must look like gs://BUCKET/aiops.json."
  }
}

variable "parameters" {
  description = "Further parameters of the job, see templates/metadata.json, e.g. { min_severity = \"INFO\" }."
  type        = map(string)
  default     = {}
}

variable "redaction_key_version" {
  description = "Number of the version of the secret that holds the master key of redaction. Placeholders name it."
  type        = number
  default     = 1
  validation {
    condition     = var.redaction_key_version >= 1 && floor(var.redaction_key_version) == var.redaction_key_version
    error_message = "A number from 1 on: latest would change placeholders under a running job."
  }
}

variable "workers" {
  description = "Workers of the job. subnetwork: regions/R/subnetworks/S with Private Google Access; null for a network of their own."
  type = object({
    machine_type = optional(string, "n2-standard-2")
    min          = optional(number, 1)
    max          = optional(number, 5)
    subnetwork   = optional(string)
  })
  default = {}
}

variable "metrics" {
  description = "Whether there is a topic and a subscription for metrics too."
  type        = bool
  default     = false
}

variable "gemini" {
  description = "Whether the job may call Gemini on Vertex AI."
  type        = bool
  default     = false
}

variable "subscription_retention_days" {
  description = "Days that unread and read messages can be had back for: a seek replays as much."
  type        = number
  default     = 7
  validation {
    condition     = var.subscription_retention_days >= 1 && var.subscription_retention_days <= 31
    error_message = "From 1 to 31."
  }
}

variable "dead_letter_attempts" {
  description = "Deliveries of a message after which it goes to the topic of dead letters, 5 to 100; 0 for never."
  type        = number
  default     = 100
  validation {
    condition     = var.dead_letter_attempts == 0 || (var.dead_letter_attempts >= 5 && var.dead_letter_attempts <= 100)
    error_message = "From 5 to 100, or 0."
  }
}

variable "retention_days" {
  description = "Days that a table keeps its rows, by table, where it is not as in tables.json; 0 for ever."
  type        = map(number)
  default     = {}
}

variable "kms_key" {
  description = "Key of your own for the topics, the dataset, the bucket and the job's state: projects/…/cryptoKeys/K. Null for Google's."
  type        = string
  default     = null
}

variable "deletion_protection" {
  description = "Whether tables and a bucket with files in it are kept from `terraform destroy`."
  type        = bool
  default     = true
}

variable "notification_channels" {
  description = "Channels of Cloud Monitoring that hear when the job itself is unwell: projects/P/notificationChannels/C."
  type        = list(string)
  default     = []
}

variable "slo" {
  description = "When the job is unwell: seconds that a message may wait, seconds that the watermark may be behind, dead letters a minute."
  type = object({
    oldest_message_seconds  = optional(number, 600)
    watermark_age_seconds   = optional(number, 900)
    dead_letters_per_minute = optional(number, 60)
    gemini_calls_per_minute = optional(number, 600)
  })
  default = {}
}

variable "labels" {
  description = "Labels of everything that has labels."
  type        = map(string)
  default     = {}
}
