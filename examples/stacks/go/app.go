// A web API on the table of ../../orders.sql, with pgx.
//
//	apt install golang-go golang-github-jackc-pgx-v4-dev	(or: go get github.com/jackc/pgx/v4)
//	PGDATABASE=orders PGUSER=app PORT=8080 ./start
//
//	curl -H "X-API-Key: $KEY" localhost:8080/orders
//
// README.md beside the directory says what it answers to.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/jackc/pgconn"
	"github.com/jackc/pgx/v4"
	"github.com/jackc/pgx/v4/pgxpool"
)

var pool *pgxpool.Pool

// transaction does some work on one connection, in one transaction.
func transaction(ctx context.Context, work func(pgx.Tx) error) error {
	connection, err := pool.Acquire(ctx)
	if err != nil {
		// not wrapped: what is wrong with a connection is not the caller's, whatever its code
		return fmt.Errorf("no connection: %v", err)
	}
	defer connection.Release()
	return connection.BeginFunc(ctx, work)
}

// withKey does it as the bearer of a key.
func withKey(ctx context.Context, key string, work func(pgx.Tx) error) error {
	return transaction(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "SELECT label FROM apikey_login($1)", key); err != nil {
			return err
		}
		return work(tx)
	})
}

type object map[string]any

type answer struct {
	status int
	body   any
	wait   string // Retry-After
}

type request struct {
	*http.Request
	tx   pgx.Tx
	id   string // of the path
	body []byte
}

type badRequest string

func (text badRequest) Error() string { return string(text) }

// What the errors of apikey and of its policies mean in HTTP.
var statuses = map[string]int{"28000": 401, "42501": 403, "42704": 404, "53400": 429, "53B00": 429}

var retryAfter = regexp.MustCompile(`retry_after=([\d.]+)`)

// refusal is the answer to an error that is the caller's; else nil.
func refusal(err error) *answer {
	var bad badRequest
	var said *pgconn.PgError

	if errors.As(err, &bad) {
		return &answer{status: 400, body: object{"error": bad}}
	}
	// a missing GRANT is not the caller's
	if !errors.As(err, &said) || said.Routine == "aclcheck_error" {
		return nil
	}
	status := statuses[said.Code]
	if strings.HasPrefix(said.Code, "22") || strings.HasPrefix(said.Code, "23") {
		status = 400
	}
	if status == 0 {
		return nil
	}
	refused := &answer{status: status, body: object{"error": said.Message, "code": said.Code}}
	if found := retryAfter.FindStringSubmatch(said.Detail); status == 429 && found != nil {
		seconds, _ := strconv.ParseFloat(found[1], 64)
		refused.wait = fmt.Sprint(math.Ceil(seconds))
	}
	return refused
}

// read puts the body into what it should be like; without a body nothing is in it.
func (r *request) read(into any) error {
	if len(r.body) > 0 && json.Unmarshal(r.body, into) != nil {
		return badRequest("the body is not JSON, or not such as it should be")
	}
	return nil
}

// page says where the page begins, and how long it is.
func (r *request) page(last string) (string, int, error) {
	query := r.URL.Query()
	if !query.Has("after") {
		query.Set("after", last)
	}
	if !query.Has("limit") {
		query.Set("limit", "50")
	}
	limit, err := strconv.Atoi(query.Get("limit"))
	if err != nil || limit < 1 || limit > 100 {
		return "", 0, badRequest("the limit is 1 to 100")
	}
	return query.Get("after"), limit, nil
}

// health shows that there are no rows without a log-in.
func health(ctx context.Context, r *request) (*answer, error) {
	var orders int
	err := r.tx.QueryRow(ctx, "SELECT count(*) FROM orders").Scan(&orders)
	return &answer{status: 200, body: object{"orders": orders}}, err
}

func me(ctx context.Context, r *request) (*answer, error) {
	var organization, label string
	var level *string
	err := r.tx.QueryRow(ctx,
		"SELECT organization, label, organization_level FROM apikey_whoami()").
		Scan(&organization, &label, &level)
	return &answer{status: 200, body: object{
		"organization": organization, "label": label, "organization_level": level}}, err
}

type order struct {
	Id          int     `json:"id"`
	Project     *string `json:"project"`
	Environment *string `json:"environment"`
	Item        *string `json:"item"`
	CreatedAt   string  `json:"created_at"`
}

func readOrders(ctx context.Context, r *request) (*answer, error) {
	after, limit, err := r.page("infinity,0")
	if err != nil {
		return nil, err
	}
	time, id, _ := strings.Cut(after, ",")
	rows, err := r.tx.Query(ctx, `
		SELECT id, project, environment, item, created_at::text FROM orders
		WHERE (created_at, id) < ($1::timestamptz, $2::int)
		ORDER BY orders.created_at DESC, id DESC LIMIT $3`, time, id, limit+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var next *string
	orders := []order{}
	for rows.Next() {
		if len(orders) == limit {
			last := orders[limit-1]
			cursor := fmt.Sprintf("%s,%d", last.CreatedAt, last.Id)
			next = &cursor
			break
		}
		var o order
		err := rows.Scan(&o.Id, &o.Project, &o.Environment, &o.Item, &o.CreatedAt)
		if err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	rows.Close()
	return &answer{status: 200, body: object{"orders": orders, "next": next}}, rows.Err()
}

func (o *order) add(ctx context.Context, tx pgx.Tx) (object, error) {
	if o.Project == nil || o.Environment == nil || o.Item == nil {
		return nil, badRequest("an order has a project, an environment and an item")
	}
	var id int
	err := tx.QueryRow(ctx,
		"INSERT INTO orders (project, environment, item) VALUES ($1, $2, $3) RETURNING id",
		o.Project, o.Environment, o.Item).Scan(&id)
	return object{"id": id}, err
}

// addOrder costs one of the key's budget, if it has any.
func addOrder(ctx context.Context, r *request) (*answer, error) {
	var o order
	if err := r.read(&o); err != nil {
		return nil, err
	}
	if _, err := r.tx.Exec(ctx, "SELECT apikey_spend()"); err != nil {
		return nil, err
	}
	added, err := o.add(ctx, r.tx)
	return &answer{status: 201, body: added}, err
}

// importOrders leaves out what is refused: each order has a savepoint.
func importOrders(ctx context.Context, r *request) (*answer, error) {
	var list []order
	if err := r.read(&list); err != nil || list == nil {
		return nil, badRequest("a list of orders")
	}
	results := make([]any, len(list))
	for i, o := range list {
		err := r.tx.BeginFunc(ctx, func(savepoint pgx.Tx) (err error) {
			results[i], err = o.add(ctx, savepoint)
			return err
		})
		if err == nil {
			continue
		}
		refused := refusal(err)
		if refused == nil || errors.As(err, new(badRequest)) {
			return nil, err
		}
		results[i] = refused.body
	}
	return &answer{status: 200, body: results}, nil
}

func changeOrder(ctx context.Context, r *request) (*answer, error) {
	var o order
	var id int
	if err := r.read(&o); err != nil || o.Item == nil {
		return nil, badRequest("the item")
	}
	err := r.tx.QueryRow(ctx, "UPDATE orders SET item = $1 WHERE id = $2::int RETURNING id",
		o.Item, r.id).Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		return &answer{status: 404, body: object{"error": "not found"}}, nil
	}
	return &answer{status: 200, body: object{"id": id}}, err
}

func readKeys(ctx context.Context, r *request) (*answer, error) {
	after, limit, err := r.page("ffffffff-ffff-ffff-ffff-ffffffffffff")
	if err != nil {
		return nil, err
	}
	rows, err := r.tx.Query(ctx, `
		SELECT key_id, label, key, status,
			(SELECT coalesce(json_agg(json_build_object('project', project,
				'environment', environment, 'level', level)), '[]')
			FROM apikey_grants AS g WHERE g.key_id = k.key_id)
		FROM apikey_keys AS k
		WHERE organization = (SELECT organization FROM apikey_whoami()) AND key_id < $1::uuid
		ORDER BY k.key_id DESC LIMIT $2`, after, limit+1)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var next any
	keys := []object{}
	for rows.Next() {
		var id, label, key, status string
		var grants []object
		if len(keys) == limit {
			next = keys[limit-1]["key_id"]
			break
		}
		if err := rows.Scan(&id, &label, &key, &status, &grants); err != nil {
			return nil, err
		}
		keys = append(keys, object{
			"key_id": id, "label": label, "key": key, "status": status, "grants": grants})
	}
	rows.Close()
	return &answer{status: 200, body: object{"keys": keys, "next": next}}, rows.Err()
}

func createKey(ctx context.Context, r *request) (*answer, error) {
	var id, key string
	body := struct {
		Label  *string
		Grants json.RawMessage
	}{Grants: json.RawMessage("[]")}
	if err := r.read(&body); err != nil {
		return nil, err
	}
	err := r.tx.QueryRow(ctx, `
		SELECT made.key_id, made.key
		FROM apikey_whoami() AS me, apikey_create(me.organization, $1, $2::jsonb) AS made`,
		body.Label, string(body.Grants)).Scan(&id, &key)
	return &answer{status: 201, body: object{"key_id": id, "key": key}}, err
}

func rotateKey(ctx context.Context, r *request) (*answer, error) {
	var id, key string
	body := struct{ Overlap string }{"0"}
	if err := r.read(&body); err != nil {
		return nil, err
	}
	err := r.tx.QueryRow(ctx, "SELECT key_id, key FROM apikey_rotate($1::uuid, $2::interval)",
		r.id, body.Overlap).Scan(&id, &key)
	return &answer{status: 200, body: object{"key_id": id, "key": key}}, err
}

func revokeKey(ctx context.Context, r *request) (*answer, error) {
	_, err := r.tx.Exec(ctx, "SELECT apikey_revoke($1::uuid)", r.id)
	return &answer{status: 204}, err
}

type handler func(context.Context, *request) (*answer, error)

var routes = []struct {
	path    *regexp.Regexp
	methods map[string]handler
}{
	{regexp.MustCompile("^/health()$"), map[string]handler{"GET": health}},
	{regexp.MustCompile("^/me()$"), map[string]handler{"GET": me}},
	{regexp.MustCompile("^/orders()$"), map[string]handler{"GET": readOrders, "POST": addOrder}},
	{regexp.MustCompile("^/orders/import()$"), map[string]handler{"POST": importOrders}},
	{regexp.MustCompile("^/orders/([^/]+)$"), map[string]handler{"PATCH": changeOrder}},
	{regexp.MustCompile("^/keys()$"), map[string]handler{"GET": readKeys, "POST": createKey}},
	{regexp.MustCompile("^/keys/([^/]+)$"), map[string]handler{"DELETE": revokeKey}},
	{regexp.MustCompile("^/keys/([^/]+)/rotate$"), map[string]handler{"POST": rotateKey}},
}

func respond(r *http.Request) (*answer, error) {
	var methods map[string]handler
	var id string

	for _, route := range routes {
		if found := route.path.FindStringSubmatch(r.URL.Path); found != nil && methods == nil {
			methods, id = route.methods, found[1]
		}
	}
	handle := methods[r.Method]
	if methods == nil {
		return &answer{status: 404, body: object{"error": "not found"}}, nil
	} else if handle == nil {
		return &answer{status: 405, body: object{"error": "method not allowed"}}, nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	for left := 3; ; left-- {
		var done *answer
		work := func(tx pgx.Tx) (err error) {
			done, err = handle(r.Context(), &request{r, tx, id, body})
			return err
		}
		if r.URL.Path == "/health" {
			err = transaction(r.Context(), work)
		} else {
			err = withKey(r.Context(), r.Header.Get("X-API-Key"), work)
		}
		var said *pgconn.PgError
		if err == nil {
			return done, nil
		} else if left > 1 && errors.As(err, &said) && (said.Code == "40001" || said.Code == "40P01") {
			continue
		}
		return refusal(err), err
	}
}

func serve(w http.ResponseWriter, r *http.Request) {
	done, err := respond(r)
	if done == nil {
		log.Print(err)
		done = &answer{status: 500, body: object{"error": "internal error"}}
	}
	w.Header().Set("Content-Type", "application/json")
	if done.wait != "" {
		w.Header().Set("Retry-After", done.wait)
	}
	w.WriteHeader(done.status)
	if done.body != nil {
		json.NewEncoder(w).Encode(done.body)
	}
}

func main() {
	config, err := pgxpool.ParseConfig("pool_max_conns=4")
	if err != nil {
		log.Fatal(err)
	}
	config.LazyConnect = true
	pool, err = pgxpool.ConnectConfig(context.Background(), config)
	if err != nil {
		log.Fatal(err)
	}
	port := os.Getenv("PORT")
	if port == "" {
		port = "8080"
	}
	listener, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	log.Fatal(http.Serve(listener, http.HandlerFunc(serve)))
}
