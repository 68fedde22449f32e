"""Hot swap and rollback of deployments."""
