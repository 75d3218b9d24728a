"""The declaring room: what a configuration may say, and whether it says it well."""
