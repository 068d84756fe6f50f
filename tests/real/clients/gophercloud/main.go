// SPDX-License-Identifier: Apache-2.0

// Calls of gophercloud's CDN client, as tests.real.old_clients asks for them: a JSON array on each
// line of standard input, and its result on a line of standard output.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path"

	"github.com/gophercloud/gophercloud"
	"github.com/gophercloud/gophercloud/openstack/cdn/v1/base"
	"github.com/gophercloud/gophercloud/openstack/cdn/v1/flavors"
	"github.com/gophercloud/gophercloud/openstack/cdn/v1/serviceassets"
	"github.com/gophercloud/gophercloud/openstack/cdn/v1/services"
)

func main() {
	client := &gophercloud.ServiceClient{
		// What the client takes from Keystone and its catalog.
		ProviderClient: &gophercloud.ProviderClient{TokenID: "token"},
		Endpoint:       os.Args[1] + "/",
		MoreHeaders:    map[string]string{"X-Project-ID": os.Args[2]},
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var call []string
		answer := map[string]any{}
		err := json.Unmarshal(lines.Bytes(), &call)
		if err == nil {
			answer["result"], err = do(client, call[0], call[1:])
		}
		if err != nil {
			answer["error"] = err.Error()
		}
		text, _ := json.Marshal(answer)
		fmt.Println(string(text))
	}
}

func do(client *gophercloud.ServiceClient, name string, values []string) (any, error) {
	switch name {
	case "ping":
		return nil, base.Ping(client).ExtractErr()
	case "flavors":
		ids := []string{}
		pages, err := flavors.List(client).AllPages()
		if err == nil {
			found, failed := flavors.ExtractFlavors(pages)
			for _, flavor := range found {
				ids = append(ids, flavor.ID)
			}
			err = failed
		}
		return ids, err
	case "create":
		location, err := services.Create(client, services.CreateOpts{
			Name:     values[0],
			FlavorID: values[1],
			Domains:  []services.Domain{{Domain: values[2]}},
			Origins:  []services.Origin{{Origin: values[3], Port: 80}},
		}).Extract()
		return path.Base(location), err
	case "list":
		ids := []string{}
		pages, err := services.List(client, services.ListOpts{Limit: 2}).AllPages()
		if err == nil {
			found, failed := services.ExtractServices(pages)
			for _, service := range found {
				ids = append(ids, service.ID)
			}
			err = failed
		}
		return ids, err
	case "get":
		return services.Get(client, values[0]).Extract()
	case "rename":
		return update(client, values[0], services.NameReplacement{NewName: values[1]})
	case "add_domain":
		domain := services.Domain{Domain: values[1], Protocol: "http"}
		return update(client, values[0], services.Append{Value: domain})
	case "purge":
		asked := serviceassets.DeleteOpts{URL: values[1]}
		return nil, serviceassets.Delete(client, values[0], asked).ExtractErr()
	case "purge_all":
		asked := serviceassets.DeleteOpts{All: true}
		return nil, serviceassets.Delete(client, values[0], asked).ExtractErr()
	case "delete":
		return nil, services.Delete(client, values[0]).ExtractErr()
	}
	return nil, fmt.Errorf("there is no %s", name)
}

func update(client *gophercloud.ServiceClient, id string, patch services.Patch) (any, error) {
	_, err := services.Update(client, id, services.UpdateOpts{patch}).Extract()
	return nil, err
}
