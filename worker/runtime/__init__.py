"""What every process needs: settings, logs, start-up checks, wake-ups."""
