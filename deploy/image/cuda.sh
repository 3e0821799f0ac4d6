#!/usr/bin/env bash
# Installs NVIDIA's packages for an image with CUDA, on Debian 12 as root:
#
#   deploy/image/cuda.sh build|runtime VERSION     VERSION as their names have it: 13-0
#
# build: the compiler and the headers. runtime: cuBLAS alone; the CUDA runtime is in the program, and
# the driver comes from the machine (NVIDIA's container toolkit puts it in).
set -euo pipefail
case "${1:-} ${2:-}" in
  build\ *-*) packages=("cuda-nvcc-$2" "cuda-cudart-dev-$2" "libcublas-dev-$2") ;;
  runtime\ *-*) packages=("libcublas-$2") ;;
  *)
    echo "usage: $0 build|runtime VERSION" >&2
    exit 2
    ;;
esac
keyring=cuda-keyring_1.1-1_all.deb
apt-get update -q
apt-get install -q -y --no-install-recommends ca-certificates curl
curl -fsSLo "/tmp/$keyring" "https://developer.download.nvidia.com/compute/cuda/repos/debian12/x86_64/$keyring"
dpkg -i "/tmp/$keyring"
apt-get update -q
apt-get install -q -y --no-install-recommends "${packages[@]}"
rm -rf "/tmp/$keyring" /var/lib/apt/lists/*
