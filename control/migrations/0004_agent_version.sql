-- What an agent says of itself when it polls, such as slipway-agent/0.1.0.
ALTER TABLE instances ADD COLUMN agent_version TEXT;
