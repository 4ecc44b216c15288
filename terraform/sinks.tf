# What the job logs, and what is logged about what it does (data access), never comes back to it: that
# would be a loop.
locals {
  own_logs = join(" OR ", [
    "(resource.type=\"dataflow_step\" AND resource.labels.job_name=\"${var.name}\")",
    "protoPayload.authenticationInfo.principalEmail=\"${google_service_account.worker.email}\"",
  ])
}

resource "google_logging_folder_sink" "logs" {
  count            = var.log_folder == null ? 0 : 1
  name             = "${var.name}-logs"
  folder           = var.log_folder
  include_children = true
  destination      = "pubsub.googleapis.com/${google_pubsub_topic.logs.id}"
  filter           = var.log_filter

  exclusions {
    name        = "own-logs"
    description = "Log lines of the job itself, and of its access to data."
    filter      = local.own_logs
  }
}

resource "google_logging_project_sink" "logs" {
  for_each               = local.sink_projects
  name                   = "${var.name}-logs"
  project                = each.value
  destination            = "pubsub.googleapis.com/${google_pubsub_topic.logs.id}"
  filter                 = var.log_filter
  unique_writer_identity = true

  exclusions {
    name        = "own-logs"
    description = "Log lines of the job itself, and of its access to data."
    filter      = local.own_logs
  }
}
