module poppy.test/gophercloud

go 1.21

require github.com/gophercloud/gophercloud v1.14.1
