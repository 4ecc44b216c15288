# All projects of a folder, three of which are tenants with readers of their own. Copy this folder, change
# it, and put what is asked for into terraform.tfvars beside this file:
#   project = "my-project"
#   folder  = "folders/123456789"

variable "project" {
  description = "Project for the job."
  type        = string
}

variable "folder" {
  description = "Folder whose logs are analyzed: folders/123456789."
  type        = string
}

variable "template" {
  description = "The flex template: templates/build.sh writes its address into template.auto.tfvars."
  type        = string
  default     = ""
}

provider "google" {
  project = var.project
}

provider "google-beta" {
  project = var.project
}

module "aiops" {
  source     = "../../"
  project    = var.project
  region     = "europe-west1"
  log_folder = var.folder
  log_filter = "severity>=INFO OR httpRequest.status>=0"
  template   = var.template
  operators  = ["group:sre@example.com"]
  tenants = {
    "shop-prod" = {
      readers    = ["group:shop@example.com"]
      commanders = ["group:shop-oncall@example.com"]
    }
    "search-prod" = { readers = ["group:search@example.com"] }
    "batch-prod"  = {}
  }
  retention_days = { log_patterns = 30 }
}

output "build_arguments" {
  description = "What templates/build.sh asks for."
  value       = module.aiops.build_arguments
}

output "parameters" {
  description = "Parameters of the job."
  value       = module.aiops.parameters
}
