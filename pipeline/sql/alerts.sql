-- Each alert but those of canaries, and each silence by matchers, as its newest event leaves it, with the times of its life.
WITH events AS (
  SELECT *,
         ROW_NUMBER() OVER (PARTITION BY alert_id ORDER BY sequence DESC) AS newest_first,
         MAX(CASE WHEN event_type = 'reopened' THEN sequence ELSE -1 END)
           OVER (PARTITION BY alert_id) AS reopened_at_sequence
  FROM ${dataset}.current_alert_events
  WHERE group_key != 'rejected' AND service != 'aiops-canary'
),
lives AS (
  SELECT alert_id,
         COUNT(*) AS events,
         COUNT(CASE WHEN event_type = 'reopened' THEN 1 END) AS reopenings,
         COUNT(CASE WHEN event_type IN ('escalated', 'repeated') THEN 1 END) AS reminders,
         MIN(CASE WHEN event_type = 'acknowledged' THEN occurred_at END) AS acknowledged_at,
         MIN(CASE WHEN event_type IN ('resolved', 'false_positive') AND sequence > reopened_at_sequence
                  THEN occurred_at END) AS resolved_at
  FROM events
  GROUP BY alert_id
)
SELECT events.tenant_id,
       events.service,
       events.alert_id,
       events.status,
       events.severity,
       events.summary,
       ARRAY_LENGTH(events.matchers) > 0 AS is_silence,
       events.silence_id != '' AND events.silenced_until > CURRENT_TIMESTAMP AS is_silenced,
       events.inhibited_by != '' AS is_inhibited,
       events.verdict,
       events.incident_id,
       events.root_cause,
       events.group_key,
       events.anomaly_types,
       events.detectors,
       events.anomaly_count,
       events.endpoints,
       events.example,
       events.recommended_actions,
       events.owner,
       events.tier,
       events.channel,
       events.runbook,
       events.opened_at,
       lives.acknowledged_at,
       CASE WHEN events.status IN ('open', 'acknowledged') THEN NULL ELSE lives.resolved_at END AS resolved_at,
       events.last_seen_at,
       events.occurred_at AS changed_at,
       lives.events,
       lives.reopenings,
       lives.reminders,
       (UNIX_MICROS(lives.acknowledged_at) - UNIX_MICROS(events.opened_at)) / 1000000
         AS seconds_to_acknowledge,
       CASE WHEN events.status IN ('open', 'acknowledged') THEN NULL
            ELSE (UNIX_MICROS(lives.resolved_at) - UNIX_MICROS(events.opened_at)) / 1000000
       END AS seconds_to_resolve
FROM events
JOIN lives ON lives.alert_id = events.alert_id
WHERE events.newest_first = 1
