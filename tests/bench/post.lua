-- For wrk: sends the file that is named after `--` as an admission review.
function init(arguments)
    local file = assert(io.open(arguments[1]))
    wrk.method = "POST"
    wrk.body = file:read("*a")
    wrk.headers["Content-Type"] = "application/json"
    file:close()
end
