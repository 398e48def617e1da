# An Amazon machine image with the agent in it, and, where a revision is named, with that deployed.
#
#   packer init packaging/image
#   packer build -var agent_package=slipway-agent_0.1.0-1_amd64.deb -var agent_sha256=... packaging/image
#
# docs/images.md tells what for.

variable "agent_package" {
  type        = string
  description = "The agent's Debian package, a file on this machine."
}

variable "agent_sha256" {
  type        = string
  description = "Its SHA-256, in hexadecimal."
}

variable "revision" {
  type        = string
  default     = ""
  description = "A revision to deploy into the image, as deploy-local takes it: s3://bucket/key. None makes a base image."
}

variable "revision_type" {
  type        = string
  default     = "tgz"
  description = "What it is packed as: tgz, tar or zip."
}

variable "group" {
  type        = string
  default     = "default-local-deployment-group"
  description = "Id of the deployment group that the revision belongs to, so that its next deployment knows the files as its own."
}

variable "iam_instance_profile" {
  type        = string
  default     = ""
  description = "Instance profile of the machine that the image is made on; it needs one to read the revision."
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

variable "image_name" {
  type    = string
  default = "slipway-base"
}

locals {
  made = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "debian" {
  region               = var.region
  instance_type        = var.instance_type
  iam_instance_profile = var.iam_instance_profile

  ami_name        = "${var.image_name}-${local.made}"
  ami_description = "Debian 12 with slipway-agent"
  encrypt_boot    = true
  ena_support     = true

  source_ami_filter {
    owners      = ["136693071363"] # Debian
    most_recent = true
    filters = {
      name                = "debian-12-amd64-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
  }

  # Tokens alone, here and on what is started from the image: the agent asks with nothing else.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  ssh_username              = "admin"
  ssh_clear_authorized_keys = true

  tags = {
    Name         = var.image_name
    AgentPackage = basename(var.agent_package)
    Revision     = var.revision == "" ? "none" : var.revision
  }
}

build {
  sources = ["source.amazon-ebs.debian"]

  provisioner "file" {
    source      = var.agent_package
    destination = "/tmp/slipway-agent.deb"
  }

  provisioner "shell" {
    script          = "${path.root}/install.sh"
    execute_command = "sudo env {{ .Vars }} sh {{ .Path }}"
    environment_vars = [
      "AGENT_PACKAGE=/tmp/slipway-agent.deb",
      "AGENT_SHA256=${var.agent_sha256}",
    ]
  }

  # The last one: it proves that nothing of this machine is left.
  provisioner "shell" {
    script          = "${path.root}/finish.sh"
    execute_command = "sudo env {{ .Vars }} sh {{ .Path }}"
    environment_vars = [
      "REVISION=${var.revision}",
      "REVISION_TYPE=${var.revision_type}",
      "DEPLOYMENT_GROUP=${var.group}",
    ]
  }
}
