# Sourced: nginx, the reference: one process, no log, files kept open, connections kept for ever.
# shellcheck shell=bash disable=SC2034,SC2154

nginx_version=$(nginx -v 2>&1 | sed -n 's/.*nginx\/\([0-9.]*\).*/\1/p')

# nginx_folder NAME SERVER: a folder with a configuration whose server block is SERVER; files go below html/.
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

answers() { # PORT: whether somebody listens there
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# begin_nginx NAME SERVER: as above, with @PORT@ in SERVER replaced by a free port, which is in `port` then, and
# started. nginx cannot choose a port itself; one below those that the kernel hands out is tried until one is free.
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
