"""The vocabulary: errors, ids, expectations. Imports nothing of ours."""
