data "google_project" "this" {
  project_id = var.project
}

locals {
  labels = merge({ app = "aiops-agent" }, var.labels)

  # Agents of Google's own that act between the services.
  pubsub_agent = "serviceAccount:service-${data.google_project.this.number}@gcp-sa-pubsub.iam.gserviceaccount.com"

  commanded_tenants = toset([for id, tenant in var.tenants : id if length(tenant.commanders) > 0])
  read_tenants      = toset([for id, tenant in var.tenants : id if length(tenant.readers) > 0])
  sink_projects = {
    for id, tenant in var.tenants : id => tenant.sink_project if tenant.sink_project != null
  }
}

resource "google_project_service" "this" {
  for_each = toset(concat(
    [
      "artifactregistry.googleapis.com",
      "bigquery.googleapis.com",
      "dataflow.googleapis.com",
      "logging.googleapis.com",
      "monitoring.googleapis.com",
      "pubsub.googleapis.com",
      "secretmanager.googleapis.com",
      "storage.googleapis.com",
    ],
    var.gemini ? ["aiplatform.googleapis.com"] : [],
  ))
  project            = var.project
  service            = each.value
  disable_on_destroy = false
}
