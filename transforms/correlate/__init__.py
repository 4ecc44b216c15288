"""From anomalies to incidents: topology, linking, root cause, life. docs/incidents.md explains them."""
