"""Counterparts of Slipway's programs, written from the protocol's description alone.

An agent and a service that were written together can agree with each other and with nobody else. These
peers share no code with them: `service` is a commands service as AWS runs one, `agent` an agent as AWS
ships one, `s3` a bucket. Signatures are computed by botocore, envelopes and certificates by openssl.

Run them with `python -m peers` from `tests/interop`; `python -m peers --help` says how.
"""
