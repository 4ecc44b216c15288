project_name: "aiops"

# The connection to BigQuery, as it is called under Admin, Connections.
constant: connection {
  value: "aiops"
  export: override_optional
}

# Project and dataset that the job writes to, as in its option --dataset.
constant: dataset {
  value: "my-project.aiops"
  export: override_optional
}
