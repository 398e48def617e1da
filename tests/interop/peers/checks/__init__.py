"""The checks: the peers with each other, our agent with their service, our service with their agent."""
