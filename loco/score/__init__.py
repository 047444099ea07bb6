"""From rankings to figures."""
