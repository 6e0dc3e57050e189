"""What the render pipeline reports: apply reports, and take them from their stream."""
