"""The program for people: live calls, waiting callers, records, and a telephone in the browser."""
