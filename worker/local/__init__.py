"""For one machine only: embedded engines, `up` and `demo`. Never imported in production."""
