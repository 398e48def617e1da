# For `packer init`. In a file of its own, since versions of Packer before 1.7 have the plugin built in, and do not know this.
packer {
  required_version = ">= 1.7.0"
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1.3"
    }
  }
}
