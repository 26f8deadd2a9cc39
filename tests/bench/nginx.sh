# Sourced: functions for nginx, the reference. It runs as one process, writes no access log, and keeps files and
# connections open.
# shellcheck shell=bash disable=SC2034,SC2154

nginx_version=$(nginx -v 2>&1 | sed -n 's/.*nginx\/\([0-9.]*\).*/\1/p')

# nginx_folder NAME SERVER: creates a directory with a configuration whose server block is SERVER. Files go below html/.
nginx_folder() {
    folder=$work/$1
    mkdir "$folder" "$folder/html"
    cat >"$folder/nginx.conf" <<CONF
daemon off;
master_process off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000000;
    open_file_cache max=100;
    default_type application/json;
    client_body_temp_path temporary;
    proxy_temp_path temporary;
    fastcgi_temp_path temporary;
    uwsgi_temp_path temporary;
    scgi_temp_path temporary;
    server {
        root html;
        $2
    }
}
CONF
}

nginx_command() { # FOLDER
    command=(nginx -p "$1/" -e "$1/error.log" -c "$1/nginx.conf")
}

answers() { # PORT: succeeds if a process listens on this port
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# begin_nginx NAME SERVER: creates such a directory and starts nginx. It replaces @PORT@ in SERVER by a free port and sets
# `port`. nginx cannot choose a port itself, so this tries ports below the kernel's ephemeral range.
begin_nginx() {
    local n
    for ((n = 0; n < 20; n++)); do
        port=$((20000 + RANDOM % 10000))
        answers "$port" && continue
        rm -rf "${work:?}/$1"
        nginx_folder "$1" "${2//@PORT@/127.0.0.1:$port}"
        nginx_command "$folder"
        begin "$1" "${command[@]}"
        until_true 5 answers "$port" && [ -e "/proc/$pid" ] && return
        end "$pid"
    done
    fail "nginx did not start: $(tail -n 1 "$folder/error.log")"
}
