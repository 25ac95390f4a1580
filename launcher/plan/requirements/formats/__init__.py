"""How people and their tools write down an environment: lock files of others, projects, conda's environment.yml."""
