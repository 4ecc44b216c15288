resource "google_pubsub_topic" "logs" {
  project      = var.project
  name         = "${var.name}-logs"
  kms_key_name = var.kms_key
  labels       = local.labels
  depends_on   = [google_project_service.this]
}

resource "google_pubsub_topic" "metrics" {
  count        = var.metrics ? 1 : 0
  project      = var.project
  name         = "${var.name}-metrics"
  kms_key_name = var.kms_key
  labels       = local.labels
  depends_on   = [google_project_service.this]
}

# What the job finds: anomalies as they are found, and what happens to alerts.
resource "google_pubsub_topic" "anomalies" {
  project                    = var.project
  name                       = "${var.name}-anomalies"
  kms_key_name               = var.kms_key
  message_retention_duration = "86400s"
  labels                     = local.labels
  depends_on                 = [google_project_service.this]
}

resource "google_pubsub_topic" "alerts" {
  project                    = var.project
  name                       = "${var.name}-alerts"
  kms_key_name               = var.kms_key
  message_retention_duration = "604800s"
  labels                     = local.labels
  depends_on                 = [google_project_service.this]
}

# What the job could not read, redacted. The same are rows of dead_letters.
resource "google_pubsub_topic" "dead_letters" {
  project                    = var.project
  name                       = "${var.name}-dead-letters"
  kms_key_name               = var.kms_key
  message_retention_duration = "604800s"
  labels                     = local.labels
  depends_on                 = [google_project_service.this]
}

# A sign of life each minute, for whoever watches from outside of Cloud Monitoring.
resource "google_pubsub_topic" "heartbeats" {
  project                    = var.project
  name                       = "${var.name}-heartbeats"
  kms_key_name               = var.kms_key
  message_retention_duration = "86400s"
  labels                     = local.labels
  depends_on                 = [google_project_service.this]
}

# Commands of people, a topic for each tenant: whoever may publish there may act for that tenant.
resource "google_pubsub_topic" "commands" {
  for_each     = local.commanded_tenants
  project      = var.project
  name         = "${var.name}-commands-${each.key}"
  kms_key_name = var.kms_key
  labels       = local.labels
  depends_on   = [google_project_service.this]
}

# Messages that were delivered again and again. The job makes rows of what it cannot read, so that
# these are messages that ended a worker each time.
resource "google_pubsub_topic" "undelivered" {
  project                    = var.project
  name                       = "${var.name}-undelivered"
  kms_key_name               = var.kms_key
  message_retention_duration = "${var.subscription_retention_days * 86400}s"
  labels                     = local.labels
  depends_on                 = [google_project_service.this]
}

locals {
  # Subscriptions that the job reads, and the topics that they belong to.
  job_subscriptions = merge(
    { logs = google_pubsub_topic.logs.id },
    var.metrics ? { metrics = google_pubsub_topic.metrics[0].id } : {},
    { for id in local.commanded_tenants : "commands-${id}" => google_pubsub_topic.commands[id].id },
  )
}

resource "google_pubsub_subscription" "job" {
  for_each                   = local.job_subscriptions
  project                    = var.project
  name                       = "${var.name}-${each.key}"
  topic                      = each.value
  ack_deadline_seconds       = 600
  message_retention_duration = "${var.subscription_retention_days * 86400}s"
  retain_acked_messages      = true # so that a seek can replay what was read
  labels                     = local.labels

  expiration_policy {
    ttl = "" # never: a subscription of a stopped job must not vanish with its backlog
  }

  dynamic "dead_letter_policy" {
    for_each = var.dead_letter_attempts > 0 ? [1] : []
    content {
      dead_letter_topic     = google_pubsub_topic.undelivered.id
      max_delivery_attempts = var.dead_letter_attempts
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }
}

# What `aiops notify` reads.
resource "google_pubsub_subscription" "notify" {
  project                    = var.project
  name                       = "${var.name}-notify"
  topic                      = google_pubsub_topic.alerts.id
  ack_deadline_seconds       = 60
  message_retention_duration = "604800s"
  labels                     = local.labels

  expiration_policy {
    ttl = ""
  }
}

# Keeps what was undelivered until somebody has looked at it.
resource "google_pubsub_subscription" "undelivered" {
  project                    = var.project
  name                       = "${var.name}-undelivered"
  topic                      = google_pubsub_topic.undelivered.id
  message_retention_duration = "${var.subscription_retention_days * 86400}s"
  labels                     = local.labels

  expiration_policy {
    ttl = ""
  }
}
