"""Manages stacks, deployments, rollbacks and dead letters on AWS."""
