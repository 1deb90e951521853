"""The program that hears, decides and speaks."""
