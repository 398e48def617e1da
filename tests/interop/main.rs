//! Other people's clients against the service.
