"""The words every other room speaks: types, units, errors, read plans, configuration. Imports nothing of ours."""
