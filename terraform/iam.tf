# Who may do what. Each grant is on the smallest thing that has one; a test holds the list of roles.

resource "google_service_account" "worker" {
  project      = var.project
  account_id   = "${var.name}-worker"
  display_name = "AIOps job ${var.name}"
  description  = "Launcher and workers of the Dataflow job."
  depends_on   = [google_project_service.this]
}

resource "google_service_account" "notify" {
  project      = var.project
  account_id   = "${var.name}-notify"
  display_name = "AIOps notifier ${var.name}"
  description  = "aiops notify: reads alert events, publishes what it did as commands."
  depends_on   = [google_project_service.this]
}

resource "google_service_account" "build" {
  project      = var.project
  account_id   = "${var.name}-build"
  display_name = "AIOps build ${var.name}"
  description  = "Cloud Build, as templates/build.sh submits it."
  depends_on   = [google_project_service.this]
}

locals {
  worker       = "serviceAccount:${google_service_account.worker.email}"
  notify       = "serviceAccount:${google_service_account.notify.email}"
  build        = "serviceAccount:${google_service_account.build.email}"
  pubsub_agent = "serviceAccount:${google_project_service_identity.pubsub.email}"
}

resource "google_project_iam_member" "worker_dataflow" {
  project = var.project
  role    = "roles/dataflow.worker"
  member  = local.worker
}

# A query needs a job in a project; what it reads is up to the dataset.
resource "google_project_iam_member" "worker_queries" {
  project = var.project
  role    = "roles/bigquery.jobUser"
  member  = local.worker
}

resource "google_project_iam_member" "worker_gemini" {
  count   = var.gemini ? 1 : 0
  project = var.project
  role    = "roles/aiplatform.user"
  member  = local.worker
}

resource "google_pubsub_subscription_iam_member" "worker_reads" {
  for_each     = google_pubsub_subscription.job
  project      = var.project
  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = local.worker
}

resource "google_pubsub_subscription_iam_member" "worker_looks_up" {
  for_each     = google_pubsub_subscription.job
  project      = var.project
  subscription = each.value.name
  role         = "roles/pubsub.viewer"
  member       = local.worker
}

resource "google_pubsub_topic_iam_member" "worker_publishes" {
  for_each = {
    anomalies    = google_pubsub_topic.anomalies.name
    alerts       = google_pubsub_topic.alerts.name
    dead_letters = google_pubsub_topic.dead_letters.name
    heartbeats   = google_pubsub_topic.heartbeats.name
  }
  project = var.project
  topic   = each.value
  role    = "roles/pubsub.publisher"
  member  = local.worker
}

resource "google_bigquery_dataset_iam_member" "worker_writes" {
  project    = var.project
  dataset_id = google_bigquery_dataset.this.dataset_id
  role       = "roles/bigquery.dataEditor"
  member     = local.worker
}

resource "google_storage_bucket_iam_member" "worker_files" {
  bucket = google_storage_bucket.this.name
  role   = "roles/storage.objectAdmin"
  member = local.worker
}

resource "google_artifact_registry_repository_iam_member" "worker_image" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.reader"
  member     = local.worker
}

resource "google_secret_manager_secret_iam_member" "worker_key" {
  project   = var.project
  secret_id = google_secret_manager_secret.redaction_key.secret_id
  role      = "roles/secretmanager.secretAccessor"
  member    = local.worker
}

resource "google_pubsub_subscription_iam_member" "notify_reads" {
  project      = var.project
  subscription = google_pubsub_subscription.notify.name
  role         = "roles/pubsub.subscriber"
  member       = local.notify
}

resource "google_pubsub_topic_iam_member" "notify_commands" {
  for_each = google_pubsub_topic.commands
  project  = var.project
  topic    = each.value.name
  role     = "roles/pubsub.publisher"
  member   = local.notify
}

# A build reads the sources that were uploaded for it, pushes the image, and says what it does.
resource "google_storage_bucket_iam_member" "build_sources" {
  bucket = google_storage_bucket.this.name
  role   = "roles/storage.objectViewer"
  member = local.build
  condition {
    title      = "sources-of-builds"
    expression = "resource.name.startsWith(\"projects/_/buckets/${google_storage_bucket.this.name}/objects/build/\")"
  }
}

resource "google_artifact_registry_repository_iam_member" "build_image" {
  project    = var.project
  location   = var.region
  repository = google_artifact_registry_repository.this.name
  role       = "roles/artifactregistry.writer"
  member     = local.build
}

resource "google_project_iam_member" "build_logs" {
  project = var.project
  role    = "roles/logging.logWriter"
  member  = local.build
}

# People and services of a tenant who may act on its alerts.
resource "google_pubsub_topic_iam_member" "commanders" {
  for_each = {
    for pair in flatten([
      for id in local.commanded_tenants : [for member in var.tenants[id].commanders : { tenant = id, member = member }]
    ]) : "${pair.tenant}/${pair.member}" => pair
  }
  project = var.project
  topic   = google_pubsub_topic.commands[each.value.tenant].name
  role    = "roles/pubsub.publisher"
  member  = each.value.member
}

# Readers need the dataset; the row access policies say which rows they see.
resource "google_bigquery_dataset_iam_member" "readers" {
  for_each   = toset(concat(var.operators, flatten([for id in local.read_tenants : var.tenants[id].readers])))
  project    = var.project
  dataset_id = google_bigquery_dataset.this.dataset_id
  role       = "roles/bigquery.dataViewer"
  member     = each.value
}

# Cloud Logging writes to the topic as the identity of each sink, and as nobody else.
resource "google_pubsub_topic_iam_member" "folder_sink" {
  count   = var.log_folder == null ? 0 : 1
  project = var.project
  topic   = google_pubsub_topic.logs.name
  role    = "roles/pubsub.publisher"
  member  = google_logging_folder_sink.logs[0].writer_identity
}

resource "google_pubsub_topic_iam_member" "project_sinks" {
  for_each = google_logging_project_sink.logs
  project  = var.project
  topic    = google_pubsub_topic.logs.name
  role     = "roles/pubsub.publisher"
  member   = each.value.writer_identity
}

# Pub/Sub itself moves what was delivered too often.
resource "google_pubsub_topic_iam_member" "pubsub_undelivered" {
  count   = var.dead_letter_attempts > 0 ? 1 : 0
  project = var.project
  topic   = google_pubsub_topic.undelivered.name
  role    = "roles/pubsub.publisher"
  member  = local.pubsub_agent
}

resource "google_pubsub_subscription_iam_member" "pubsub_forwards" {
  for_each     = var.dead_letter_attempts > 0 ? google_pubsub_subscription.job : {}
  project      = var.project
  subscription = each.value.name
  role         = "roles/pubsub.subscriber"
  member       = local.pubsub_agent
}
