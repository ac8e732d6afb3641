"""What `rdv outcome` needs: outcomes from the command line and from files."""
