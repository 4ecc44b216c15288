"""Time series of Cloud Monitoring become points, dead letters and ledger counts; points become windows."""
