"""Settings and the reading of YAML files with line numbers."""
