locals {
  labels = merge({ app = "aiops-agent" }, var.labels)

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
      "cloudbuild.googleapis.com",
      "cloudresourcemanager.googleapis.com",
      "compute.googleapis.com",
      "dataflow.googleapis.com",
      "iam.googleapis.com",
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

# Agents of Google's own that act between the services. A project that never used Pub/Sub has none yet,
# and a grant to nobody fails.
resource "google_project_service_identity" "pubsub" {
  provider   = google-beta
  project    = var.project
  service    = "pubsub.googleapis.com"
  depends_on = [google_project_service.this]
}
