-- What happened in each incident, in order of occurred_at: its anomalies, effects, roll-outs, alerts and changes.
WITH revisions AS (
  SELECT * FROM ${dataset}.incidents
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY incident_id, revision ORDER BY written_at DESC) = 1
),
changes AS (
  SELECT tenant_id, incident_id, updated_at, status, severity, title,
         LAG(status) OVER (PARTITION BY incident_id ORDER BY revision) AS previous_status
  FROM revisions
),
alerts_of_incidents AS (
  SELECT alert_id, incident_id FROM ${dataset}.current_alert_events
  WHERE TRUE
  QUALIFY ROW_NUMBER() OVER (PARTITION BY alert_id ORDER BY sequence DESC) = 1
)
SELECT tenant_id, incident_id, updated_at AS occurred_at, 'incident' AS kind, status AS event,
       '' AS service, severity, title AS what, incident_id AS reference, 'aiops' AS actor
FROM changes
WHERE previous_status IS NULL OR previous_status != status
UNION ALL
SELECT incident.tenant_id, incident.incident_id, anomaly.detected_at, 'anomaly', anomaly.anomaly_type,
       anomaly.service, anomaly.severity, anomaly.description, anomaly.anomaly_id, anomaly.detector
FROM ${dataset}.current_incidents AS incident, UNNEST(incident.anomalies) AS anomaly
UNION ALL
SELECT incident.tenant_id, incident.incident_id, step.started_at, 'effect', 'spread',
       step.effect, '', step.description, step.cause, 'aiops'
FROM ${dataset}.current_incidents AS incident, UNNEST(incident.effects) AS step
UNION ALL
SELECT incident.tenant_id, incident.incident_id, roll_out.deployed_at, 'deploy', 'deployed',
       roll_out.service, '', roll_out.what, roll_out.deploy_id, ''
FROM ${dataset}.current_incidents AS incident, UNNEST(incident.deploys) AS roll_out
UNION ALL
SELECT event.tenant_id, alert.incident_id, event.occurred_at, 'alert', event.event_type,
       event.service, event.severity, CASE WHEN event.note != '' THEN event.note ELSE event.summary END,
       event.alert_id, event.actor
FROM ${dataset}.current_alert_events AS event
JOIN alerts_of_incidents AS alert ON alert.alert_id = event.alert_id
WHERE alert.incident_id != ''
