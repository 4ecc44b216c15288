# Tables and views are made of the code: tables.json, tables/ and views/ are renewed with
# `make generate`.
locals {
  tables = jsondecode(file("${path.module}/tables.json"))
  views  = jsondecode(file("${path.module}/views.json"))
  # BigQuery takes no 0 here, and the provider keeps what was set where nothing is said: 100 years.
  keep_days = {
    for table, layout in local.tables : table => lookup(var.retention_days, table, layout.keep_days)
  }
  keep_ms     = { for table, days in local.keep_days : table => (days == 0 ? 36500 : days) * 86400000 }
  dataset_sql = "`${var.project}.${google_bigquery_dataset.this.dataset_id}`"
  view_sql = {
    for view in keys(local.views) : view => templatefile("${path.module}/views/${view}.sql", { dataset = local.dataset_sql })
  }
}

resource "google_bigquery_dataset" "this" {
  project                    = var.project
  dataset_id                 = replace(var.name, "-", "_")
  location                   = var.region
  description                = "Windows, patterns, anomalies, incidents and alerts of all tenants, written by the job ${var.name}."
  delete_contents_on_destroy = !var.deletion_protection
  labels                     = local.labels

  dynamic "default_encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = default_encryption_configuration.value
    }
  }

  depends_on = [google_project_service.this]
}

resource "google_bigquery_table" "tables" {
  for_each            = local.tables
  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  schema              = file("${path.module}/tables/${each.key}.json")
  clustering          = each.value.cluster_by
  deletion_protection = var.deletion_protection
  labels              = local.labels

  time_partitioning {
    type          = "DAY"
    field         = each.value.day_of
    expiration_ms = local.keep_ms[each.key]
  }

  dynamic "encryption_configuration" {
    for_each = var.kms_key == null ? [] : [var.kms_key]
    content {
      kms_key_name = encryption_configuration.value
    }
  }

  lifecycle {
    precondition {
      condition     = alltrue([for table in keys(var.retention_days) : contains(keys(local.tables), table)])
      error_message = "retention_days names a table that there is not; see tables.json."
    }
  }
}

# Views in the order of what they read: BigQuery checks a view when it is made.
resource "google_bigquery_table" "views_1" {
  #checkov:skip=CKV_GCP_80:a view holds nothing to encrypt
  #checkov:skip=CKV_GCP_121:a view holds nothing to protect
  for_each            = { for name, view in local.views : name => view if view.level == 1 }
  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false # a view holds nothing
  labels              = local.labels

  view {
    query          = local.view_sql[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.tables]
}

resource "google_bigquery_table" "views_2" {
  #checkov:skip=CKV_GCP_80:a view holds nothing to encrypt
  #checkov:skip=CKV_GCP_121:a view holds nothing to protect
  for_each            = { for name, view in local.views : name => view if view.level == 2 }
  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false
  labels              = local.labels

  view {
    query          = local.view_sql[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.views_1]
}

resource "google_bigquery_table" "views_3" {
  #checkov:skip=CKV_GCP_80:a view holds nothing to encrypt
  #checkov:skip=CKV_GCP_121:a view holds nothing to protect
  for_each            = { for name, view in local.views : name => view if view.level == 3 }
  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false
  labels              = local.labels

  view {
    query          = local.view_sql[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.views_2]
}

resource "google_bigquery_table" "views_4" {
  #checkov:skip=CKV_GCP_80:a view holds nothing to encrypt
  #checkov:skip=CKV_GCP_121:a view holds nothing to protect
  for_each            = { for name, view in local.views : name => view if view.level >= 4 }
  project             = var.project
  dataset_id          = google_bigquery_dataset.this.dataset_id
  table_id            = each.key
  description         = each.value.description
  deletion_protection = false
  labels              = local.labels

  view {
    query          = local.view_sql[each.key]
    use_legacy_sql = false
  }

  depends_on = [google_bigquery_table.views_3]

  lifecycle {
    precondition {
      condition     = each.value.level == 4
      error_message = "A view of level 5 or more needs a resource of its own after views_4."
    }
  }
}

# Rows of a tenant for its readers, rows of all for the operators and for the job, which reads what it
# wrote. As soon as a table has one policy, whoever has none sees no row of it: all tables have them,
# or none has.
locals {
  tenant_policies = {
    for pair in setproduct(keys(local.tables), local.read_tenants) : "${pair[0]}/${pair[1]}" => {
      table  = pair[0]
      tenant = pair[1]
    }
  }
}

resource "google_bigquery_row_access_policy" "tenant" {
  for_each         = local.tenant_policies
  project          = var.project
  dataset_id       = google_bigquery_dataset.this.dataset_id
  table_id         = google_bigquery_table.tables[each.value.table].table_id
  policy_id        = "tenant_${replace(each.value.tenant, "/[-.]/", "_")}_${substr(sha256(each.value.tenant), 0, 6)}"
  filter_predicate = "tenant_id = '${each.value.tenant}'"
  grantees         = var.tenants[each.value.tenant].readers
}

resource "google_bigquery_row_access_policy" "operators" {
  for_each         = length(local.read_tenants) > 0 ? local.tables : {}
  project          = var.project
  dataset_id       = google_bigquery_dataset.this.dataset_id
  table_id         = google_bigquery_table.tables[each.key].table_id
  policy_id        = "operators"
  filter_predicate = "TRUE"
  grantees         = concat([local.worker], var.operators)
}
