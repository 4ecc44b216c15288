# Workers have private addresses only: they reach Google's services by Private Google Access, which the
# default network of a project lacks, if there is a default network at all.

locals {
  subnetwork = coalesce(var.workers.subnetwork, one(google_compute_subnetwork.workers[*].self_link))
}

resource "google_compute_network" "workers" {
  count                   = var.workers.subnetwork == null ? 1 : 0
  project                 = var.project
  name                    = "${var.name}-workers"
  description             = "Workers of the job ${var.name}; nothing of it is reached from outside."
  auto_create_subnetworks = false
  depends_on              = [google_project_service.this]
}

resource "google_compute_subnetwork" "workers" {
  #checkov:skip=CKV_GCP_26:flow logs would come back to the job as log lines, and workers talk to Google's services only
  #checkov:skip=CKV_GCP_76:there are no IPv6 addresses in it
  count                    = var.workers.subnetwork == null ? 1 : 0
  project                  = var.project
  region                   = var.region
  name                     = "${var.name}-workers"
  network                  = google_compute_network.workers[0].id
  ip_cidr_range            = "10.128.0.0/24"
  private_ip_google_access = true
}

# Dataflow marks its workers so, and lets them talk to each other over these two ports.
resource "google_compute_firewall" "workers" {
  count       = var.workers.subnetwork == null ? 1 : 0
  project     = var.project
  name        = "${var.name}-workers"
  description = "Workers of Dataflow among themselves."
  network     = google_compute_network.workers[0].id
  source_tags = ["dataflow"]
  target_tags = ["dataflow"]
  allow {
    protocol = "tcp"
    ports    = ["12345-12346"]
  }
}
