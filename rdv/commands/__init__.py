"""The command line parses, makes one library call and renders the result, in each command."""
