"""Run and watch: health, status, canary, punctuality, retention, API keys."""
