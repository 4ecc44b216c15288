locals {
  parameters = merge(
    {
      input_subscription = google_pubsub_subscription.job["logs"].id
      dataset            = "${var.project}.${google_bigquery_dataset.this.dataset_id}"
      failed_rows        = "gs://${google_storage_bucket.this.name}/failed-rows"
      anomaly_topic      = google_pubsub_topic.anomalies.id
      alert_topic        = google_pubsub_topic.alerts.id
      dead_letter_topic  = google_pubsub_topic.dead_letters.id
      heartbeat_topic    = google_pubsub_topic.heartbeats.id
    },
    contains(keys(var.parameters), "redaction_key_file") ? {} : {
      redaction_key_secret = "projects/${var.project}/secrets/${google_secret_manager_secret.redaction_key.secret_id}/versions/${var.redaction_key_version}"
    },
    var.metrics ? { metrics_subscription = google_pubsub_subscription.job["metrics"].id } : {},
    length(local.commanded_tenants) == 0 ? {} : {
      commands = jsonencode([
        for id in sort(local.commanded_tenants) : "${id}=${google_pubsub_subscription.job["commands-${id}"].id}"
      ])
    },
    var.parameters,
  )
}

resource "google_dataflow_flex_template_job" "this" {
  provider                = google-beta
  count                   = var.template == "" ? 0 : 1
  project                 = var.project
  region                  = var.region
  name                    = var.name
  container_spec_gcs_path = var.template
  parameters              = local.parameters
  labels                  = local.labels
  on_delete               = "drain" # a cancel would lose what is in flight

  service_account_email   = google_service_account.worker.email
  machine_type            = var.workers.machine_type
  num_workers             = var.workers.min
  max_workers             = var.workers.max
  autoscaling_algorithm   = "THROUGHPUT_BASED"
  subnetwork              = local.subnetwork
  ip_configuration        = "WORKER_IP_PRIVATE"
  enable_streaming_engine = true
  kms_key_name            = var.kms_key
  temp_location           = "gs://${google_storage_bucket.this.name}/temp"
  staging_location        = "gs://${google_storage_bucket.this.name}/staging"

  depends_on = [
    google_project_iam_member.worker_dataflow,
    google_pubsub_subscription_iam_member.worker_reads,
    google_pubsub_subscription_iam_member.worker_looks_up,
    google_pubsub_topic_iam_member.worker_publishes,
    google_bigquery_dataset_iam_member.worker_writes,
    google_storage_bucket_iam_member.worker_files,
    google_artifact_registry_repository_iam_member.worker_image,
    google_secret_manager_secret_iam_member.worker_key,
    google_bigquery_table.tables,
    google_compute_firewall.workers,
  ]
}
