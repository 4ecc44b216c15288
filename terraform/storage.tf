resource "google_storage_bucket" "this" {
  #checkov:skip=CKV_GCP_62:who read what is in the audit logs of the project
  project                     = var.project
  name                        = "${var.project}-${var.name}"
  location                    = var.region
  force_destroy               = !var.deletion_protection
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  labels                      = local.labels

  versioning {
    enabled = true # of the template and of operators' files: an update can be taken back
  }

  dynamic "encryption" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      default_kms_key_name = encryption.value
    }
  }

  lifecycle_rule {
    condition {
      age            = 14
      matches_prefix = ["temp/", "staging/", "build/"]
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      age            = 30
      matches_prefix = ["failed-rows/"]
      matches_suffix = [".replayed"] # their rows are in the tables; others stay until they are replayed
    }
    action {
      type = "Delete"
    }
  }

  lifecycle_rule {
    condition {
      days_since_noncurrent_time = 90
    }
    action {
      type = "Delete"
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_artifact_registry_repository" "this" {
  project       = var.project
  location      = var.region
  repository_id = var.name
  format        = "DOCKER"
  description   = "Image of the flex template and of its workers."
  kms_key_name  = var.kms_key
  labels        = local.labels

  docker_config {
    immutable_tags = true # a tag names a commit, and stays with it
  }

  depends_on = [google_project_service.this]
}

# The master key of placeholders. Terraform makes the secret and never sees the key:
#   openssl rand -hex 32 | gcloud secrets versions add NAME --data-file=-
resource "google_secret_manager_secret" "redaction_key" {
  project   = var.project
  secret_id = "${var.name}-redaction-key"
  labels    = local.labels

  replication {
    user_managed {
      replicas {
        location = var.region
        dynamic "customer_managed_encryption" {
          for_each = var.kms_key == null ? [] : [var.kms_key]
          content {
            kms_key_name = customer_managed_encryption.value
          }
        }
      }
    }
  }

  depends_on = [google_project_service.this]
}
