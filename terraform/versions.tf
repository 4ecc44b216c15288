terraform {
  required_version = ">= 1.7"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.30, < 8"
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = ">= 6.30, < 8"
    }
  }
}
