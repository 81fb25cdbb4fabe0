# A web API on the table of ../../orders.sql, with pg.
#
#   apt install ruby ruby-pg ruby-webrick		(or: gem install pg webrick)
#   PGDATABASE=orders PGUSER=app PORT=8080 ruby app.rb
#
#   curl -H "X-API-Key: $KEY" localhost:8080/orders
#
# README.md beside the directory says what it answers to.

require 'json'
require 'pg'
require 'webrick'

# Connections that are not in use; nil is one that has yet to be made.
POOL = Queue.new([nil] * 4)

# Numbers and JSON are read as such, all else is text.
TYPES = PG::TypeMapByOid.new
TYPES.add_coder(PG::TextDecoder::Integer.new(oid: 23))
TYPES.add_coder(PG::TextDecoder::Integer.new(oid: 20))
TYPES.add_coder(PG::TextDecoder::JSON.new(oid: 114))

class BadRequest < StandardError; end

# Do some work on one connection, in one transaction.
def transaction(&work)
  connection = POOL.pop
  connection ||= PG.connect.tap { |made| made.type_map_for_results = TYPES }
  connection.transaction(&work)
ensure
  POOL << (connection if connection&.status == PG::CONNECTION_OK)
end

# Do it as the bearer of a key.
def with_key(key)
  transaction do |connection|
    query(connection, 'SELECT label FROM apikey_login($1)', key)
    yield connection
  end
end

def query(connection, sql, *parameters)
  connection.exec_params(sql, parameters).to_a
rescue ArgumentError
  raise BadRequest, 'a text has a zero byte'
end

# What the errors of apikey and of its policies mean in HTTP.
STATUS = { '28000' => 401, '42501' => 403, '42704' => 404, '53400' => 429, '53B00' => 429 }.freeze

def sqlstate(error)
  error.result&.error_field(PG::PG_DIAG_SQLSTATE).to_s
end

# Status, body and headers for an error of the database that is the caller's; else nil.
def refusal(error)
  code = sqlstate(error)
  status = STATUS[code] || (400 if code.match?(/\A2[23]/))
  # a missing GRANT is not the caller's
  return if !status || error.result.error_field(PG::PG_DIAG_SOURCE_FUNCTION) == 'aclcheck_error'

  wait = error.result.error_field(PG::PG_DIAG_MESSAGE_DETAIL).to_s[/retry_after=([\d.]+)/, 1]
  [status, { error: error.result.error_field(PG::PG_DIAG_MESSAGE_PRIMARY), code: code },
   status == 429 && wait ? { 'Retry-After' => wait.to_f.ceil.to_s } : {}]
end

def order_of(body)
  order = body.values_at('project', 'environment', 'item') if body.is_a?(Hash)
  return order if order&.all?(String)

  raise BadRequest, 'an order has a project, an environment and an item'
end

# Where the page begins, and how long it is.
def page_of(parameters, last)
  limit = parameters['limit'] || '50'
  raise BadRequest, 'the limit is 1 to 100' unless limit.match?(/\A([1-9]\d?|100)\z/)

  [parameters['after'] || last, limit.to_i]
end

def page(name, rows, limit)
  [200, { name => rows.first(limit), next: rows.size > limit ? yield(rows[limit - 1]) : nil }]
end

# Without a log-in there are no rows.
def health(connection)
  [200, query(connection, 'SELECT count(*) AS orders FROM orders').first]
end

def me(connection, *)
  [200, query(connection,
              'SELECT organization, label, organization_level FROM apikey_whoami()').first]
end

# Times are text, which keeps microseconds.
def read_orders(connection, parameters, _body)
  after, limit = page_of(parameters, 'infinity,0')
  rows = query(connection, <<~SQL, *"#{after},".split(',', -1).first(2), limit + 1)
    SELECT id, project, environment, item, created_at::text FROM orders
    WHERE (created_at, id) < ($1::timestamptz, $2::int)
    ORDER BY orders.created_at DESC, id DESC LIMIT $3
  SQL
  page(:orders, rows, limit) { |row| "#{row['created_at']},#{row['id']}" }
end

ADD = 'INSERT INTO orders (project, environment, item) VALUES ($1, $2, $3) RETURNING id'.freeze

# An order costs one of the key's budget, if it has any.
def add_order(connection, _parameters, body)
  order = order_of(body)
  query(connection, 'SELECT apikey_spend()')
  [201, query(connection, ADD, *order).first]
end

# What is refused is left out: each order has a savepoint.
def import_orders(connection, _parameters, body)
  raise BadRequest, 'a list of orders' unless body.is_a?(Array)

  [200, body.map { |order| order_of(order) }.map do |order|
    connection.exec('SAVEPOINT entry')
    result = begin
      query(connection, ADD, *order).first
    rescue PG::Error => e
      refused = refusal(e) or raise
      connection.exec('ROLLBACK TO SAVEPOINT entry')
      refused[1]
    end
    connection.exec('RELEASE SAVEPOINT entry')
    result
  end]
end

def change_order(connection, _parameters, body, id)
  raise BadRequest, 'the item' unless body.is_a?(Hash) && body['item'].is_a?(String)

  row = query(connection, 'UPDATE orders SET item = $1 WHERE id = $2::int RETURNING id',
              body['item'], id).first
  row ? [200, row] : [404, { error: 'not found' }]
end

def read_keys(connection, parameters, _body)
  after, limit = page_of(parameters, 'ffffffff-ffff-ffff-ffff-ffffffffffff')
  rows = query(connection, <<~SQL, after, limit + 1)
    SELECT key_id, label, key, status,
      (SELECT coalesce(json_agg(json_build_object('project', project,
        'environment', environment, 'level', level)), '[]')
      FROM apikey_grants AS g WHERE g.key_id = k.key_id) AS grants
    FROM apikey_keys AS k
    WHERE organization = (SELECT organization FROM apikey_whoami()) AND key_id < $1::uuid
    ORDER BY k.key_id DESC LIMIT $2
  SQL
  page(:keys, rows, limit) { |row| row['key_id'] }
end

def create_key(connection, _parameters, body)
  raise BadRequest, 'a label and grants' unless body.is_a?(Hash)

  [201, query(connection, <<~SQL, body['label'], JSON.generate(body.fetch('grants', []))).first]
    SELECT made.key_id, made.key
    FROM apikey_whoami() AS me, apikey_create(me.organization, $1, $2::jsonb) AS made
  SQL
end

def rotate_key(connection, _parameters, body, id)
  overlap = body.is_a?(Hash) ? body.fetch('overlap', '0') : '0'
  [200, query(connection, 'SELECT key_id, key FROM apikey_rotate($1::uuid, $2::interval)',
              id, overlap).first]
end

def revoke_key(connection, _parameters, _body, id)
  query(connection, 'SELECT apikey_revoke($1::uuid)', id)
  [204]
end

ROUTES = {
  %r{\A/health\z} => { 'GET' => :health },
  %r{\A/me\z} => { 'GET' => :me },
  %r{\A/orders\z} => { 'GET' => :read_orders, 'POST' => :add_order },
  %r{\A/orders/import\z} => { 'POST' => :import_orders },
  %r{\A/orders/([^/]+)\z} => { 'PATCH' => :change_order },
  %r{\A/keys\z} => { 'GET' => :read_keys, 'POST' => :create_key },
  %r{\A/keys/([^/]+)\z} => { 'DELETE' => :revoke_key },
  %r{\A/keys/([^/]+)/rotate\z} => { 'POST' => :rotate_key }
}.freeze

# Status and body of the answer, and headers if there are any.
def respond(request)
  pattern, methods = ROUTES.find { |path, _| path.match?(request.path) }
  return [404, { error: 'not found' }] unless pattern

  name = methods[request.request_method]
  return [405, { error: 'method not allowed' }] unless name

  parameters = URI.decode_www_form(request.query_string.to_s).to_h
  body = JSON.parse(request.body || 'null')
  tries = 0
  begin
    return transaction { |connection| health(connection) } if name == :health

    with_key(request['X-API-Key']) do |connection|
      send(name, connection, parameters, body, *pattern.match(request.path).captures)
    end
  rescue PG::Error => e
    retry if %w[40001 40P01].include?(sqlstate(e)) && (tries += 1) < 3
    refusal(e) or raise
  end
rescue JSON::ParserError
  [400, { error: 'the body is not JSON' }]
rescue BadRequest => e
  [400, { error: e.message }]
end

class API < WEBrick::HTTPServlet::AbstractServlet
  def service(request, response)
    status, body, headers = begin
      respond(request)
    rescue StandardError => e
      warn "#{e.class}: #{e.message}"
      [500, { error: 'internal error' }]
    end
    response.status = status
    response['Content-Type'] = 'application/json'
    headers&.each { |name, value| response[name] = value }
    response.body = JSON.generate(body) if body
  end
end

# Without logs of its own: at level ERROR they have headers that are not well-formed.
server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: (ENV['PORT'] || 8080).to_i,
                                 AccessLog: [], Logger: WEBrick::Log.new($stderr, WEBrick::Log::FATAL))
server.mount('/', API)
trap('TERM') { exit!(true) }
$stdout.sync = true
puts "listening on http://127.0.0.1:#{server.listeners[0].addr[1]}"
server.start
