# The job about itself, watched from outside of it: whoever is dead cannot say so.
locals {
  of_job = "resource.type=\"dataflow_job\" AND resource.labels.job_name=\"${var.name}\""

  # Dataflow exports counters of the job as running totals of kind GAUGE: of those only PromQL gives the growth.
  counter = {
    for name in ["dead_letters", "failed_rows", "ledger_difference", "heartbeats", "gemini_calls"] : name =>
    "dataflow_googleapis_com:job_user_counter{monitored_resource=\"dataflow_job\",job_name=\"${var.name}\",metric_name=\"${name}\"}"
  }

  thresholds = {
    oldest-message = {
      title     = "oldest unread message"
      filter    = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.job["logs"].name}\""
      threshold = var.slo.oldest_message_seconds
      meaning   = "Lines wait in the subscription: the job is down, or too slow."
      runbook   = "the-job-is-slow.md"
    }
    watermark-age = {
      title     = "watermark age"
      filter    = "metric.type=\"dataflow.googleapis.com/job/data_watermark_age\" AND ${local.of_job}"
      threshold = var.slo.watermark_age_seconds
      meaning   = "Windows close late, so anomalies are found late."
      runbook   = "the-job-is-slow.md"
    }
  }

  counters = {
    dead-letters = {
      title    = "dead letters a minute"
      query    = "60 * sum(rate(${local.counter["dead_letters"]}[10m])) > ${var.slo.dead_letters_per_minute}"
      duration = "300s"
      severity = "ERROR"
      meaning  = "Lines come that cannot be read."
      runbook  = "many-dead-letters.md"
    }
    failed-rows = {
      title    = "rows that BigQuery did not take"
      query    = "sum(increase(${local.counter["failed_rows"]}[15m])) > 0"
      duration = "0s"
      severity = "ERROR"
      meaning  = "Rows are kept whole elsewhere and wait for a replay; alerts go out all the same."
      runbook  = "bigquery-is-down.md"
    }
    ledger = {
      title    = "ledger out of balance"
      query    = "sum(increase(${local.counter["ledger_difference"]}[15m])) > 0"
      duration = "0s"
      severity = "ERROR"
      meaning  = "An hour and a quarter ago, lines came in that nothing became of."
      runbook  = "ledger-does-not-balance.md"
    }
    gemini = {
      title    = "Gemini calls a minute"
      query    = "60 * sum(rate(${local.counter["gemini_calls"]}[10m])) > ${var.slo.gemini_calls_per_minute}"
      duration = "300s"
      severity = "WARNING"
      meaning  = "More calls of Gemini than planned for; budgets per tenant hold in the job."
      runbook  = "gemini-costs-too-much.md"
    }
    # Dataflow goes on telling the total of a job that is stuck, so that absence alone would not show it; and of a
    # job that was never there, or was taken away half a day ago, nobody waits for one.
    heartbeat = {
      title    = "no heartbeat for 10 minutes"
      query    = "(sum(increase(${local.counter["heartbeats"]}[10m])) or vector(0)) < 1 and on() count(present_over_time(${local.counter["heartbeats"]}[12h])) > 0"
      duration = "0s"
      severity = "CRITICAL"
      meaning  = "The job does nothing any more: nobody would be paged for anything."
      runbook  = "no-heartbeat.md"
    }
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each              = local.thresholds
  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = "ERROR"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title
    condition_threshold {
      filter          = each.value.filter
      comparison      = "COMPARISON_GT"
      threshold_value = each.value.threshold
      duration        = "300s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_MAX"
        cross_series_reducer = "REDUCE_MAX"
      }
    }
  }

  documentation {
    content   = "${each.value.meaning} Runbook: docs/runbooks/${each.value.runbook}"
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "counter" {
  for_each              = { for name, policy in local.counters : name => policy if name != "gemini" || var.gemini }
  project               = var.project
  display_name          = "${var.name}: ${each.value.title}"
  combiner              = "OR"
  severity              = each.value.severity
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = each.value.title
    condition_prometheus_query_language {
      query               = each.value.query
      duration            = each.value.duration
      evaluation_interval = "60s"
    }
  }

  documentation {
    content   = "${each.value.meaning} Runbook: docs/runbooks/${each.value.runbook}"
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.this]
}
