output "dataset" {
  description = "Dataset with all tables and views: PROJECT.DATASET."
  value       = "${var.project}.${google_bigquery_dataset.this.dataset_id}"
}

output "bucket" {
  description = "Bucket for the template, rules and other files of operators."
  value       = google_storage_bucket.this.name
}

output "repository" {
  description = "Repository for the image, as templates/build.sh takes it with --repository."
  value       = google_artifact_registry_repository.this.repository_id
}

output "build_arguments" {
  description = "What templates/build.sh needs to know; it looks here when it is given the folder."
  value = join(" ", [
    "--project ${var.project} --region ${var.region}",
    "--repository ${google_artifact_registry_repository.this.repository_id}",
    "--service-account ${google_service_account.build.email}",
    "--redaction-key ${google_secret_manager_secret.redaction_key.secret_id}",
    "--template gs://${google_storage_bucket.this.name}/templates/aiops-VERSION.json",
  ])
  # Who builds at once finds the grants in place.
  depends_on = [
    google_storage_bucket_iam_member.build_sources,
    google_artifact_registry_repository_iam_member.build_image,
    google_project_iam_member.build_logs,
  ]
}

output "worker_service_account" {
  description = "Service account of the job, as aiops launch takes it with --service-account."
  value       = google_service_account.worker.email
}

output "subnetwork" {
  description = "Where the workers run, as aiops launch takes it with --subnetwork."
  value       = local.subnetwork
}

output "parameters" {
  description = "Parameters of the job, as aiops launch and the template take them."
  value       = local.parameters
}

output "alert_topic" {
  description = "Topic that alert events are published to."
  value       = google_pubsub_topic.alerts.id
}

output "notify_subscription" {
  description = "Subscription that aiops notify reads."
  value       = google_pubsub_subscription.notify.id
}

output "command_topics" {
  description = "Topics for commands on alerts, by tenant."
  value       = { for id, topic in google_pubsub_topic.commands : id => topic.id }
}

output "job_id" {
  description = "Id of the job, or null where none is started."
  value       = one(google_dataflow_flex_template_job.this[*].job_id)
}
