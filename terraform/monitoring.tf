# The job about itself, watched from outside of it: whoever is dead cannot say so.
locals {
  of_job     = "resource.type=\"dataflow_job\" AND resource.labels.job_name=\"${var.name}\""
  counter    = "metric.type=\"dataflow.googleapis.com/job/user_counter\" AND ${local.of_job}"
  is_counter = { for name in ["dead_letters", "ledger_difference", "heartbeats", "gemini_calls"] : name => "${local.counter} AND metric.labels.metric_name=\"${name}\"" }

  thresholds = {
    oldest-message = {
      title     = "oldest unread message"
      filter    = "metric.type=\"pubsub.googleapis.com/subscription/oldest_unacked_message_age\" AND resource.type=\"pubsub_subscription\" AND resource.labels.subscription_id=\"${google_pubsub_subscription.job["logs"].name}\""
      aligner   = "ALIGN_MAX"
      threshold = var.slo.oldest_message_seconds
      duration  = "300s"
      meaning   = "Lines wait in the subscription: the job is down, or too slow. Runbook: docs/runbooks/the-job-is-slow.md."
    }
    watermark-age = {
      title     = "watermark age"
      filter    = "metric.type=\"dataflow.googleapis.com/job/data_watermark_age\" AND ${local.of_job}"
      aligner   = "ALIGN_MAX"
      threshold = var.slo.watermark_age_seconds
      duration  = "300s"
      meaning   = "Windows close late, so anomalies are found late. Runbook: docs/runbooks/the-job-is-slow.md."
    }
    dead-letters = {
      title     = "dead letters a minute"
      filter    = local.is_counter["dead_letters"]
      aligner   = "ALIGN_DELTA"
      threshold = var.slo.dead_letters_per_minute
      duration  = "300s"
      meaning   = "Lines come that cannot be read. Runbook: docs/runbooks/many-dead-letters.md."
    }
    ledger = {
      title     = "ledger out of balance"
      filter    = local.is_counter["ledger_difference"]
      aligner   = "ALIGN_MAX"
      threshold = 0
      duration  = "0s"
      meaning   = "Lines came in that nothing became of. Runbook: docs/runbooks/ledger-does-not-balance.md."
    }
    gemini = {
      title     = "Gemini calls a minute"
      filter    = local.is_counter["gemini_calls"]
      aligner   = "ALIGN_DELTA"
      threshold = var.slo.gemini_calls_per_minute
      duration  = "300s"
      meaning   = "More calls of Gemini than planned for; budgets per tenant hold in the job."
    }
  }
}

resource "google_monitoring_alert_policy" "threshold" {
  for_each              = { for name, policy in local.thresholds : name => policy if name != "gemini" || var.gemini }
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
      duration        = each.value.duration
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = each.value.aligner
        cross_series_reducer = "REDUCE_MAX"
      }
    }
  }

  documentation {
    content   = each.value.meaning
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.this]
}

resource "google_monitoring_alert_policy" "heartbeat" {
  project               = var.project
  display_name          = "${var.name}: no heartbeat"
  combiner              = "OR"
  severity              = "CRITICAL"
  notification_channels = var.notification_channels
  user_labels           = local.labels

  conditions {
    display_name = "no heartbeat for 10 minutes"
    condition_absent {
      filter   = local.is_counter["heartbeats"]
      duration = "600s"
      aggregations {
        alignment_period     = "60s"
        per_series_aligner   = "ALIGN_DELTA"
        cross_series_reducer = "REDUCE_SUM"
      }
    }
  }

  documentation {
    content   = "The job says nothing any more: nobody would be paged for anything. `aiops launch list` shows its state."
    mime_type = "text/markdown"
  }

  depends_on = [google_project_service.this]
}
