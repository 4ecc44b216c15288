mock_provider "google" {
  mock_resource "google_service_account" {
    defaults = { email = "account@my-project.iam.gserviceaccount.com" }
  }
}
mock_provider "google-beta" {
  mock_resource "google_project_service_identity" {
    defaults = { email = "service-123456789@gcp-sa-pubsub.iam.gserviceaccount.com" }
  }
}

variables {
  project = "my-project"
  region  = "europe-west1"
}

run "nothing_but_the_ground" {
  assert {
    condition     = length(google_dataflow_flex_template_job.this) == 0
    error_message = "Without a template there is no job."
  }
  assert {
    condition     = length(google_logging_folder_sink.logs) + length(google_logging_project_sink.logs) == 0
    error_message = "Nobody's logs are taken without being named."
  }
  assert {
    condition     = output.build_arguments == "--project my-project --region europe-west1 --repository aiops --service-account account@my-project.iam.gserviceaccount.com --redaction-key aiops-redaction-key --template gs://my-project-aiops/templates/aiops-VERSION.json"
    error_message = "templates/build.sh is told where things are."
  }
  assert {
    condition     = google_compute_subnetwork.workers[0].private_ip_google_access
    error_message = "Workers without public addresses reach Google's services."
  }
  assert {
    condition     = keys(google_pubsub_subscription.job) == ["logs"]
    error_message = "The job reads logs, and nothing that was not asked for."
  }
  assert {
    condition     = length(google_bigquery_row_access_policy.tenant) + length(google_bigquery_row_access_policy.operators) == 0
    error_message = "Without readers there are no row policies: with one, all others would see nothing."
  }
  assert {
    condition     = google_bigquery_table.tables["anomalies"].time_partitioning[0].field == "window_start"
    error_message = "Days come from tables.json."
  }
  assert {
    condition     = strcontains(google_bigquery_table.views_2["ledger_balance"].view[0].query, "`my-project.aiops`.current_ledger")
    error_message = "Views name tables with project and dataset."
  }
  assert {
    condition     = alltrue([for table in google_bigquery_table.tables : table.deletion_protection])
    error_message = "Tables are protected unless said otherwise."
  }
  assert {
    condition     = !contains(keys(google_monitoring_alert_policy.counter), "gemini") && contains(keys(google_monitoring_alert_policy.counter), "heartbeat")
    error_message = "Gemini is watched only where it is used."
  }
}

run "a_folder_of_tenants" {
  variables {
    log_folder = "folders/42"
    template   = "gs://bucket/aiops.json"
    operators  = ["group:sre@example.com"]
    tenants = {
      "shop-prod"   = { readers = ["group:shop@example.com"], commanders = ["group:oncall@example.com"] }
      "search-prod" = { readers = ["group:search@example.com"] }
      "batch-prod"  = {}
    }
    parameters = { min_severity = "INFO" }
  }
  assert {
    condition     = google_logging_folder_sink.logs[0].include_children
    error_message = "A folder's sink takes its projects' logs."
  }
  assert {
    condition     = strcontains(google_logging_folder_sink.logs[0].exclusions[0].filter, "job_name=\"aiops\"")
    error_message = "The job's own logs are left out."
  }
  assert {
    condition     = strcontains(google_logging_folder_sink.logs[0].exclusions[0].filter, "principalEmail=\"account@my-project")
    error_message = "What is logged about the job's access to data is left out."
  }
  assert {
    condition     = contains(google_bigquery_row_access_policy.operators["alert_events"].grantees, "serviceAccount:account@my-project.iam.gserviceaccount.com")
    error_message = "The job reads what it wrote, where readers have policies."
  }
  assert {
    condition     = keys(google_pubsub_subscription.job) == ["commands-shop-prod", "logs"]
    error_message = "A tenant with commanders has a subscription for commands."
  }
  assert {
    condition     = google_pubsub_topic_iam_member.commanders["shop-prod/group:oncall@example.com"].topic == "aiops-commands-shop-prod"
    error_message = "Commanders publish to the topic of their tenant."
  }
  assert {
    condition     = google_bigquery_row_access_policy.tenant["anomalies/shop-prod"].filter_predicate == "tenant_id = 'shop-prod'"
    error_message = "A tenant's readers see its rows."
  }
  assert {
    condition     = length(google_bigquery_row_access_policy.tenant) == 2 * length(google_bigquery_table.tables)
    error_message = "Every table has a policy for every tenant with readers."
  }
  assert {
    condition     = length(google_bigquery_row_access_policy.operators) == length(google_bigquery_table.tables)
    error_message = "Operators see the rows of all tenants in every table."
  }
  assert {
    condition     = google_dataflow_flex_template_job.this[0].on_delete == "drain"
    error_message = "A job that goes away is drained."
  }
  assert {
    condition     = google_dataflow_flex_template_job.this[0].ip_configuration == "WORKER_IP_PRIVATE"
    error_message = "Workers have no public addresses."
  }
  assert {
    condition = (
      google_dataflow_flex_template_job.this[0].parameters["dataset"] == output.dataset &&
      google_dataflow_flex_template_job.this[0].parameters["failed_rows"] == "gs://${output.bucket}/failed-rows"
    )
    error_message = "The job writes to the dataset, and keeps in the bucket what that does not take."
  }

  assert {
    condition     = google_dataflow_flex_template_job.this[0].parameters["min_severity"] == "INFO"
    error_message = "Parameters of the operator reach the job."
  }
  assert {
    condition     = google_dataflow_flex_template_job.this[0].parameters["redaction_key_secret"] == "projects/my-project/secrets/aiops-redaction-key/versions/1"
    error_message = "The job knows which version of the secret holds its key."
  }
  assert {
    condition     = google_pubsub_topic_iam_member.worker_publishes["dead_letters"].topic == "aiops-dead-letters" && contains(keys(google_dataflow_flex_template_job.this[0].parameters), "dead_letter_topic")
    error_message = "The job publishes its dead letters to a topic of their own."
  }
  assert {
    condition     = startswith(jsondecode(google_dataflow_flex_template_job.this[0].parameters["commands"])[0], "shop-prod=")
    error_message = "The job knows which subscription is whose."
  }
}

run "projects_of_their_own_and_a_key" {
  variables {
    tenants              = { "shop-prod" = { sink_project = "shop-prod" } }
    kms_key              = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    metrics              = true
    gemini               = true
    dead_letter_attempts = 0
    retention_days       = { log_patterns = 30, ledger = 0 }
    template             = "gs://bucket/aiops.json"
    workers              = { subnetwork = "regions/europe-west1/subnetworks/shared" }
  }
  assert {
    condition     = length(google_compute_network.workers) == 0
    error_message = "A subnetwork of the operator's takes the place of one of our own."
  }
  assert {
    condition     = google_dataflow_flex_template_job.this[0].subnetwork == "regions/europe-west1/subnetworks/shared"
    error_message = "The job runs where the operator says."
  }
  assert {
    condition     = google_logging_project_sink.logs["shop-prod"].unique_writer_identity
    error_message = "Each sink writes as itself."
  }
  assert {
    condition     = google_pubsub_topic.logs.kms_key_name == google_bigquery_dataset.this.default_encryption_configuration[0].kms_key_name
    error_message = "One key for all that is stored."
  }
  assert {
    condition     = contains(keys(google_pubsub_subscription.job), "metrics")
    error_message = "Metrics have a subscription where they are asked for."
  }
  assert {
    condition     = length(google_project_iam_member.worker_gemini) == 1
    error_message = "Gemini may be called where it is asked for."
  }
  assert {
    condition     = length(google_pubsub_subscription.job["logs"].dead_letter_policy) == 0
    error_message = "0 attempts is no dead-letter topic."
  }
  assert {
    condition     = google_bigquery_table.tables["log_patterns"].time_partitioning[0].expiration_ms == 2592000000
    error_message = "retention_days says how long a table keeps its days."
  }
  assert {
    condition     = google_bigquery_table.tables["ledger"].time_partitioning[0].expiration_ms == 3153600000000
    error_message = "0 days is for ever."
  }
}

run "a_tenant_that_would_be_sql_is_refused" {
  command = plan
  variables {
    tenants = { "x' OR TRUE OR '" = {} }
  }
  expect_failures = [var.tenants]
}

run "a_table_that_is_not_there_is_refused" {
  command = plan
  variables {
    retention_days = { anomalys = 1 }
  }
  expect_failures = [google_bigquery_table.tables]
}
