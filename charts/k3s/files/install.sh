# Installs k3s, or changes it where the version or the arguments are other than before. Safe to run again.
export K3S_TOKEN INSTALL_K3S_CHANNEL
if [ -n "$INSTALL_K3S_VERSION" ]; then export INSTALL_K3S_VERSION; else unset INSTALL_K3S_VERSION; fi
if [ -n "$SERVER" ]; then export K3S_URL="$SERVER"; fi

wanted="${INSTALL_K3S_VERSION:-$INSTALL_K3S_CHANNEL} $ARGUMENTS $SERVER"
if [ -f /etc/rancher/pvehelm ] && [ "$(cat /etc/rancher/pvehelm)" = "$wanted" ]; then
    echo "k3s is as wanted"
    exit 0
fi
booted
if ! command -v curl >/dev/null; then
    packages update
    packages install curl
fi
# A first server that is made anew joins the others, or it would be a cluster by itself beside theirs.
if [ ! -d /var/lib/rancher/k3s/server/db ]; then
    for peer in $PEERS; do
        if curl -ks --max-time 5 "https://$peer:6443/ping" -o /dev/null; then
            ARGUMENTS=$(printf %s "$ARGUMENTS" | sed "s|--cluster-init|--server=https://$peer:6443|")
            break
        fi
    done
fi
curl -fsSL --retry 5 "$INSTALLER" -o /root/install-k3s.sh
INSTALL_K3S_EXEC="$ARGUMENTS" sh /root/install-k3s.sh
mkdir -p /etc/rancher
printf '%s' "$wanted" > /etc/rancher/pvehelm
