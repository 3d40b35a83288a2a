"""Stack, deployment, rollback and dead letters on AWS."""
