# Tries a package in a throwaway root: trial.sh PACKAGE.deb VERSION
#
# Runs in mount, network and cgroup namespaces of its own (see package.rs). The root is an overlay of
# the machine's, so that nothing of what happens here is seen outside or stays. A systemd of its own
# runs in it, because half of a package is what systemd makes of it: the package is installed, started
# against a veth pair, upgraded, killed, removed and purged.
deb=$(realpath "$1")
version=$2

mount --make-rprivate /
mount -t tmpfs -o mode=755 trial /mnt
mkdir /mnt/{upper,work,root}
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work trial /mnt/root
cd /mnt/root
cp "$deb" var/cache/muralla.deb
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t bpf bpf sys/fs/bpf
mount -t tmpfs -o mode=755 run run
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 dev dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/{pts,shm,mqueue,hugepages}
mount -t devpts -o newinstance,ptmxmode=666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
# Nothing that the machine has enabled starts here.
rm -rf etc/systemd/system/*.{wants,requires}
mkdir -p run/systemd/system
cat >run/systemd/system/trial.service <<'UNIT'
[Unit]
DefaultDependencies=no
Wants=systemd-journald.socket
After=systemd-journald.socket
[Service]
Type=oneshot
ExecStart=/bin/bash -euo pipefail /run/inside
StandardOutput=append:/run/trial.log
StandardError=inherit
ExecStopPost=/bin/sh -c 'exec systemctl poweroff --force --force >/dev/null 2>&1'
UNIT
printf '[Unit]\nWants=trial.service\n' >run/systemd/system/trial.target

cat >run/inside <<'INSIDE'
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin
version=$(cat /run/version)
deb=/var/cache/muralla.deb
configuration=/etc/muralla/muralla.toml

say() { printf '   %s\n' "$*"; }
die() { printf '   FAILED: %s\n' "$*" >&2; exit 1; }

# Whatever dies on the way says where.
trap 'die "line $LINENO of the trial: $BASH_COMMAND"' ERR
set -E

# Every file where packages put any, apart from what the package system itself keeps.
listing() { find /etc /usr /var -xdev \( -path /var/lib/dpkg -o -path /var/cache -o -path /var/log -o -path /var/lib/systemd \) -prune -o -print | LC_ALL=C sort; }

# A machine that had the package before would hide what it leaves behind.
if dpkg-query -W muralla >/dev/null 2>&1; then dpkg --purge muralla >/dev/null; fi
before=$(listing)

dpkg --install "$deb" >/tmp/install.log 2>&1 || { cat /tmp/install.log; die 'dpkg --install'; }
dpkg --verify muralla
[ "$(dpkg-query -W -f '${db:Status-Status}' muralla)" = installed ]
muralla --version | grep -qF "$version"
units='muralla.service muralla-admin.socket muralla-reports.socket muralla-dns.service muralla-dns-admin.socket muralla-radius.service muralla-radius-admin.socket muralla-mail.service muralla-mail-admin.socket'
# shellcheck disable=SC2086 # they are words
systemd-analyze verify --man=no $units 2>&1 | { ! grep -i muralla; }
say "installed: $(muralla --version), units verified"

# As it comes, the configuration protects nothing and says what to write.
! muralla check >/tmp/check.log 2>&1 || die 'the configuration passes as it comes'
grep -q 'edge' /tmp/check.log || { cat /tmp/check.log; die 'and does not say what is missing'; }

# Every example in it is valid, but for the secret, which says how to make one: "#" alone is an example, "# " is prose.
placeholder='24 random bytes, as [^"]*'
ip link set lo up
ip link add eth0 type veth peer name peer0
ip link add eth1 type veth peer name peer1
for interface in eth0 eth1 peer0 peer1; do ip link set "$interface" up; done
ip address add 192.0.2.1/24 dev eth0
mkdir -p /tmp/examples
sed -e 's/^#\([^ ]\)/\1/' -e "s|$placeholder|$(head -c 24 /dev/urandom | base64)|" $configuration >/tmp/examples/muralla.toml
muralla check /tmp/examples/muralla.toml >/tmp/check.log 2>&1 ||
    { cat /tmp/check.log; die 'the examples of the configuration are not valid'; }

# The two things that must be filled in, a feed, DNS and RADIUS as they are, and a NAS.
sed -i -e 's/^#\(\[edge\]\|customers =\|\[dns\]\|\[radius\]\)/\1/' -e '/^#\[\[radius.nas\]\]/,/^$/s/^#\([^ ]\)/\1/' -e '0,/^#\[\[edge.interface\]\]/s//[[edge.interface]]/' \
    -e '0,/^#name = "eth0"/s//name = "eth0"/' -e '/^#\[\[edge.feed\]\]/,/^$/s/^#\([^ ]\)/\1/' $configuration
muralla check >/tmp/check.log 2>&1 && die 'the secret of the manual is accepted'
grep -q 'no secret' /tmp/check.log || { cat /tmp/check.log; die 'the secret of the manual is not what is refused'; }
sed -i "s|$placeholder|$(head -c 24 /dev/urandom | base64)|" $configuration
mkdir -p /var/lib/muralla/feeds
echo 198.51.100.0/25 >/var/lib/muralla/feeds/drop.txt
muralla check >/tmp/check.log 2>&1 || { cat /tmp/check.log; die 'not valid once filled in'; }
say 'configuration: refused as it comes, accepted once filled in'

# In the sandbox that the unit describes, with the powers that it leaves.
start() {
    systemctl start muralla.service >/tmp/start.log 2>&1 &&
        muralla ping --socket /run/muralla/admin.sock >/tmp/status.log 2>&1 || {
        cat /tmp/start.log /tmp/status.log 2>/dev/null || true
        journalctl --no-pager --output=cat --unit=muralla.service | tail -n 40
        die 'the service does not start, or does not answer'
    }
}
attached() { ip -details link show dev eth0 | grep -q 'prog/xdp'; }

start_dns() {
    systemctl start muralla-dns.service >/tmp/start.log 2>&1 &&
        muralla dns lookup localhost >/tmp/status.log 2>&1 || {
        cat /tmp/start.log /tmp/status.log 2>/dev/null || true
        journalctl --no-pager --output=cat --unit=muralla-dns.service | tail -n 40
        die 'DNS does not start, or does not answer'
    }
}

start_radius() {
    systemctl start muralla-radius.service >/tmp/start.log 2>&1 &&
        muralla ping --socket /run/muralla/radius.sock >/tmp/status.log 2>&1 || {
        cat /tmp/start.log /tmp/status.log 2>/dev/null || true
        journalctl --no-pager --output=cat --unit=muralla-radius.service | tail -n 40
        die 'RADIUS does not start, or does not answer'
    }
}

start_mail() {
    systemctl start muralla-mail.service >/tmp/start.log 2>&1 &&
        muralla ping --socket /run/muralla/mail.sock >/tmp/status.log 2>&1 || {
        cat /tmp/start.log /tmp/status.log 2>/dev/null || true
        journalctl --no-pager --output=cat --unit=muralla-mail.service | tail -n 40
        die 'mail does not start, or does not answer'
    }
}

# At a boot it comes before all, and cleans /tmp of what earlier boots left.
systemctl start systemd-tmpfiles-setup.service
systemctl --quiet enable muralla.service muralla-dns.service muralla-radius.service
start
attached || die 'no program on eth0'
start_dns
start_radius
systemctl reload muralla.service muralla-dns.service muralla-radius.service
muralla status >/tmp/status.log 2>&1 || { cat /tmp/status.log; die 'not all is well'; }
say 'runs under systemd, a unit for each role: attached, answers, reloads'

# The sockets outlive the process, and the user is its own.
pid=$(systemctl show --property=MainPID --value muralla-dns.service)
[ "$(stat -c %U "/proc/$pid")" = muralla-dns ] || die 'DNS does not run as its own user'
[ "$(systemctl show --property=NFileDescriptorStore --value muralla-dns.service)" -gt 0 ] ||
    die 'systemd keeps no socket of DNS'
for _ in $(seq 50); do
    if muralla status 2>/dev/null | grep -q 'filled by a DNS role'; then break; fi
    sleep 0.2
done
muralla status | grep -q 'filled by a DNS role' || {
    journalctl --no-pager --output=cat --unit=muralla-dns.service | tail -n 20
    die "the card's cache is not filled"
}
systemctl restart muralla-dns.service
start_dns
say "DNS: own user, sockets kept through a restart, fills the card's cache"

# A subscriber who is entered by root can log in at once, before and after a restart.
pid=$(systemctl show --property=MainPID --value muralla-radius.service)
[ "$(stat -c %U "/proc/$pid")" = muralla-radius ] || die 'RADIUS does not run as its own user'
[ "$(systemctl show --property=NFileDescriptorStore --value muralla-radius.service)" -gt 0 ] ||
    die 'systemd keeps no socket of RADIUS'
echo 'correct horse' | muralla radius user add alice --password-file -
log_in() {
    for _ in $(seq 50); do
        if echo 'correct horse' | muralla radius test alice --password-file - >/tmp/test.log 2>&1; then return; fi
        sleep 0.2
    done
    cat /tmp/test.log
    journalctl --no-pager --output=cat --unit=muralla-radius.service | tail -n 20
    die 'a subscriber can not log in'
}
log_in
muralla radius pool add home 100.64.0.0/24
systemctl restart muralla-radius.service
start_radius
log_in
! echo wrong | muralla radius test alice --password-file - >/dev/null || die 'a wrong password is accepted'
[ "$(find /var/lib/muralla-radius ! -user muralla-radius)" = '' ] || die 'files of RADIUS are not its own'
grep -q '^192.0.2.16/28$' /var/lib/muralla-radius/nas || die 'the wall is not told of the NAS'
say 'RADIUS: own user, sockets kept, a subscriber logs in'

# What root enters is the service's own, and mail is taken before and after a restart.
printf '\n[mail]\nhostname = "mx.example.net"\nkeys = ["%s"]\n[mail.mx]\n' "$(head -c 24 /dev/urandom | base64)" >>$configuration
muralla check >/tmp/check.log 2>&1 || { cat /tmp/check.log; die 'mail is not valid as the manual has it'; }
start_mail
muralla mail domain add example.net
echo 'correct horse' | muralla mail account add ann@example.net --password-file -
pid=$(systemctl show --property=MainPID --value muralla-mail.service)
[ "$(stat -c %U "/proc/$pid")" = muralla-mail ] || die 'mail does not run as its own user'
# It tells the wall who offends, and can do nothing else there.
as_mail() { setpriv --reuid=muralla-mail --regid=muralla-mail --init-groups "$@"; }
as_mail muralla offend 198.51.100.200 --service smtp --reason spam --handshake --socket /run/muralla/reports.sock >/tmp/offend.log 2>&1 ||
    { cat /tmp/offend.log; die 'mail can not tell the wall who offends'; }
! as_mail muralla block 198.51.100.200 --socket /run/muralla/reports.sock >/tmp/block.log 2>&1 || die 'mail can block whom it likes'
! as_mail muralla ping --socket /run/muralla/admin.sock >/tmp/ping.log 2>&1 || die 'mail may use the admin socket of the wall'
deliver() {
    for _ in $(seq 20); do
        if swaks --server 127.0.0.1 --from bob@example.org --to ann@example.net --helo host.example.org >/tmp/swaks.log 2>&1; then return; fi
        sleep 0.5
    done
    cat /tmp/swaks.log
    journalctl --no-pager --output=cat --unit=muralla-mail.service | tail -n 20
    die 'mail is not taken'
}
deliver
systemctl restart muralla-mail.service
start_mail
deliver
[ "$(find /var/lib/muralla-mail ! -user muralla-mail)" = '' ] || die 'files of mail are not its own'
muralla mail export ann@example.net --maildir /tmp/ann >/tmp/export.log 2>&1 || { cat /tmp/export.log; die 'a mailbox is not exported'; }
[ "$(find /tmp/ann/new /tmp/ann/cur -type f | wc -l)" = 2 ] || { find /tmp/ann; die 'two messages are not two'; }
say 'mail: own user, sockets kept, two messages in a mailbox'

# Alert rules and dashboard ask only for what is there: a wrong name is an alarm that never rings.
scrape() {
    for port in 9469 9470 9471 9472; do
        exec 3<>/dev/tcp/127.0.0.1/$port
        printf 'GET /metrics HTTP/1.0\r\nHost: localhost\r\n\r\n' >&3
        cat <&3
        exec 3>&-
    done
}
names() { grep -ohP '(?<![:\w])muralla_[a-z_]+\b(?!:)' "$@" | LC_ALL=C sort -u; }
asked=$(names /usr/share/muralla/prometheus/*.yml /usr/share/muralla/grafana/*.json)
# Some appear with the first event that they count, with a role of mail that does not run here, or with the first look at a store.
asked=$(echo "$asked" | grep -v -e muralla_dns_validation_failures_total -e muralla_config_last_reload_timestamp \
    -e muralla_radius_nas_silence_seconds -e muralla_mail_outgoing_ -e muralla_mail_submission_ \
    -e muralla_mail_logins_total -e muralla_mail_certificate_expiry_timestamp_seconds \
    -e muralla_mail_store_missing_packs -e muralla_mail_store_pack_bytes)
for _ in $(seq 30); do
    # A link that comes up sends a few packets, so that there is something to count.
    ip link set peer0 down
    ip link set peer0 up
    lacking=$(comm -23 <(echo "$asked") <(scrape | names))
    [ -n "$lacking" ] || break
    sleep 1
done
[ -z "$lacking" ] || die "asked for by rules or dashboard, but not exposed: $lacking"
say "metrics: all $(echo "$asked" | wc -l) that rules and dashboard ask for are exposed"

# An upgrade, as dpkg does it: the wall stays, and the new daemon takes over.
dpkg --install "$deb" >/tmp/install.log 2>&1 || { cat /tmp/install.log; die 'the upgrade'; }
attached || die 'the upgrade took the wall down'
grep -q '^customers' $configuration || die 'the upgrade took the configuration back'
for unit in muralla muralla-dns muralla-radius muralla-mail; do
    if ! systemctl is-active --quiet $unit.service; then
        cat /tmp/install.log
        systemctl status --no-pager --lines 40 $unit.service || true
        die "the upgrade stopped $unit"
    fi
done
systemctl kill --signal=KILL muralla.service
attached || die 'the wall went with the daemon'
for _ in $(seq 100); do
    if muralla ping --socket /run/muralla/admin.sock >/dev/null 2>&1; then break; fi
    sleep 0.1
done
start
# shellcheck disable=SC2086 # they are words
systemctl stop $units
attached || die 'the wall went when the service was stopped'
say 'upgraded, killed, stopped: the wall stays'

dpkg --remove muralla >/tmp/remove.log 2>&1 || { cat /tmp/remove.log; die 'dpkg --remove'; }
! attached || die 'a program is left on eth0'
[ ! -e /sys/fs/bpf/muralla ] || die "left on bpffs: $(ls /sys/fs/bpf/muralla)"
[ -e $configuration ] || die 'removing took the configuration'
dpkg --purge muralla >/tmp/remove.log 2>&1 || { cat /tmp/remove.log; die 'dpkg --purge'; }
# Subscribers and accounting are somebody's: no package deletes them.
[ -e /var/lib/muralla-radius/state.db ] || die 'the purge took the subscribers'
[ -d /var/lib/muralla-mail/packs ] || die 'the purge took the mail'
rm -rf /var/lib/muralla-radius /var/lib/muralla-mail
left=$(diff <(echo "$before") <(listing) || true)
[ -z "$left" ] || die "left behind or missing after the purge: $left"
say 'removed and purged: nothing is left'
touch /run/passed
INSIDE
echo "$version" >run/version

pivot_root . mnt
umount --lazy /mnt
# Powering off ends the process namespace, and nothing else.
timeout --kill-after=5 240 unshare --pid --fork --kill-child -- \
    bash -c 'mount -t proc proc /proc; export container=trial; exec /lib/systemd/systemd --unit=trial.target' \
    </dev/null >/run/systemd.log 2>&1 || true
cat /run/trial.log || cat /run/systemd.log
[ -e /run/passed ]
